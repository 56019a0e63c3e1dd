exec 3<>/dev/tcp/127.0.0.1/@PORT@ && ##
printf 'GET @PATH@ HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3 && ##
read -t @ANSWER_SECONDS@ -r line <&3 && ##
[[ $line == HTTP/1.?' 200 '* ]]
