# Puts the data that lies in .restoring in the place of what is in the data folder ($0), which is kept in .replaced.
# Cut off anywhere, it leaves either .replaced.partial (some of the earlier data has been moved there) or .replaced (all
# of it has), from which restore_undo.sh puts it back.
set -e
cd "$0"
mkdir .replaced.partial
find . -mindepth 1 -maxdepth 1 ! -name .restoring ! -name .replaced.partial -exec mv -t .replaced.partial {} +
mv .replaced.partial .replaced
# The archive has the folder itself at its top.
find .restoring/* -mindepth 1 -maxdepth 1 -exec mv -t . {} +
rm -rf .restoring
