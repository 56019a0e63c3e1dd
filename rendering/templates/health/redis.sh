## The password's file is there only where a password is configured. It goes in by stdin: in the environment, every
## process of its user could read it while the check runs.
file=@PASSWORD@
ask() { ##
    if [ -s $file ]; then timeout @ANSWER_SECONDS@ redis-cli --askpass "$@" <$file; ##
    else timeout @ANSWER_SECONDS@ redis-cli "$@"; fi; ##
}
pong=$(ask ping) || exit
## Nothing but PONG is well; `LOADING …` is an answer.
case $pong in
PONG) ;;
## A script has run for 5 s and nobody else is served until it ends, so it is ended here. One that has written Redis
## does not let go of: that is silence. Source: https://redis.io/docs/latest/commands/script-kill/
BUSY*) case $(ask script kill) in UNKILLABLE*) exit 124 ;; *) exit 1 ;; esac ;;
*) exit 1 ;;
esac
