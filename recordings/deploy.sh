#!/bin/sh
# The demonstration's workload: a small release script of git, rsync, perl and shell pipes, of which the shipped model
# has never seen a recording. Record it again, with other losses and other lines:
#   tracemend record --pair -o recordings/deploy --buffer 8 --delay 1 -- sh recordings/deploy.sh
set -e
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
for f in /usr/include/linux/a[a-s]*.h /usr/include/linux/bpf*.h; do cp "$f" src/; done
cd src
git init -q . 2>/dev/null
git config user.email a@example.org
git config user.name a
git add .
git commit -qm one
for f in bpf*.h; do echo '/* changed */' >> "$f"; done
git status -s > ../status
git diff --stat > ../diff
git commit -qam two
git log --stat --oneline > ../log
git archive -o ../out.tar HEAD
cd ..
rsync -a --exclude .git src/ stage/
rsync -a --checksum --exclude .git src/ stage/
for i in 1 2 3; do
    cat stage/a*.h | tr -cs 'a-zA-Z' '\n' | sort | uniq -c | sort -rn | head -5 > top$i
done
perl -ne '$n{$_}++ for /define\s+(\w+)/; END { print scalar(keys %n), "\n" }' stage/*.h > defines
