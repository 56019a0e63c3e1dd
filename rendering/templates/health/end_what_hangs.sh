## A check is counted before it asks, so that one which the engine breaks off has been counted.
if read -r misses <@UNANSWERED@; then ##
    ## Never anything outside of such a container, whoever runs the command.
    if [ "$misses" -ge @MISSES@ ] && read -r first </proc/1/comm && [ "$first" = docker-init ]; then @END@; fi; ##
    echo $((misses + 1)) >@UNANSWERED@; ##
fi 2>/dev/null
( @CHECK@
); status=$?
if [ $status = 0 ] || { [ $status -lt 124 ] && [ -e @UNANSWERED@ ]; }; then echo 0 >@UNANSWERED@; fi
[ $status = 0 ]
