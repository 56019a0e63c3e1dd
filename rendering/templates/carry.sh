# $1 is the server's name, what follows its program. socat starts start.sh, which takes the program from PROGRAM.
busybox=@BUSYBOX@
in_quotes() { printf '%s\n' "$1" | $busybox sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/"; }
quoted() { for word; do printf '%s ' "$(in_quotes "$word")"; done; }
name=$1
shift
PROGRAM=$(quoted "$@")
export PROGRAM
@SOCAT@ TCP-LISTEN:@PORT@,bind=127.0.0.1,reuseaddr,fork,max-children=32 UNIX-CONNECT:@DOOR@/egress 2>/dev/null &
while kill -0 $!; do
    @SOCAT@ UNIX-CONNECT:"@DOOR@/$name" EXEC:"$busybox sh @START@" 2>/dev/null
    $busybox sleep 1
done
