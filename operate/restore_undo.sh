# Puts the data back that restore_exchange.sh has moved away in the data folder ($0), however far it got.
set -e
cd "$0"
rm -rf .restoring
if [ -d .replaced ]; then
    find . -mindepth 1 -maxdepth 1 ! -name .replaced -exec rm -rf {} +
    # What is cut off from here on must not delete again: by then some of it is the earlier data.
    mv .replaced .replaced.partial
fi
if [ -d .replaced.partial ]; then
    find .replaced.partial -mindepth 1 -maxdepth 1 -exec mv -t . {} +
    rmdir .replaced.partial
fi
