//! Files changed by somebody who is logged in, with the tools that people use.

use super::way::Way;

/// Editors, redirections and the tools of the shell, by ada in her own files.
pub fn ways() -> Vec<Way> {
    [editors(), shell(), tools(), attributes(), names()].concat()
}

fn editors() -> Vec<Way> {
    vec![
        Way::file("ed in place", "printf '1c\\nchanged\\n.\\nw\\nq\\n' | ed -s $F").by("/usr/bin/ed"),
        Way::file(
            "vim with rename",
            "vim.tiny -u NONE -es -c 'set writebackup backupcopy=no' -c '%s/held/changed/' -c wq $F",
        )
        .by("/usr/bin/vim.tiny"),
        Way::file(
            "vim in place, left open",
            "vim.tiny -u NONE -es -c 'set nowritebackup backupcopy=yes' -c '%s/held/changed/' -c w -c '!/srv/ways/until_undone $F' -c q! $F",
        )
        .by("/usr/bin/vim.tiny")
        .alive(),
        Way::file("nano on a terminal", "/srv/ways/nano.py $F").by("/usr/bin/nano").alive(),
        Way::file("sed -i", "sed -i s/held/changed/ $F").by("/usr/bin/sed"),
        Way::file("perl -i", "perl -i -pe s/held/changed/ $F").by("/usr/bin/perl"),
        Way::file(
            "python one-liner",
            "python3 -c 'import os; open(os.environ[\"F\"], \"w\").write(\"changed\\n\")'",
        )
        .by("/usr/bin/python3"),
    ]
}

fn shell() -> Vec<Way> {
    vec![
        Way::file("redirect of the login shell", "echo changed > $F").by("/usr/bin/bash"),
        Way::file("appended by a shell that stays", "echo changed >> $F; /srv/ways/until_undone $F; true")
            .by("/usr/bin/bash")
            .alive(),
        Way::file("script that ends at once", "/srv/ways/script $F").by("/usr/bin/dash"),
        Way::file("tee in a pipe", "echo changed | tee $F > /dev/null").by("/usr/bin/tee"),
        Way::file(
            "shell in the background",
            "setsid sh -c 'echo changed > $F; sleep 0.1' < /dev/null > /dev/null 2>&1 &",
        )
        .by("/usr/bin/dash"),
        Way::file(
            "daemon by setsid that stays",
            "setsid bash -c 'echo changed > $F; /srv/ways/until_undone $F; true' < /dev/null > /dev/null 2>&1 &",
        )
        .by("/usr/bin/bash")
        .alive(),
        Way::file("another name in argv", "(exec -a /usr/sbin/sshd sed -i s/held/changed/ $F)")
            .by("/usr/bin/sed"),
        Way::file("environment cleared", "env -i /usr/bin/cp /srv/ways/changed $F").by("/usr/bin/cp"),
    ]
}

fn tools() -> Vec<Way> {
    vec![
        Way::file("cp --reflink=auto", "cp --reflink=auto /srv/ways/changed $F").by("/usr/bin/cp"),
        Way::file("install", "install -m 644 /srv/ways/changed $F").by("/usr/bin/install"),
        Way::file("dd", "dd if=/srv/ways/changed of=$F conv=notrunc status=none").by("/usr/bin/dd"),
        Way::file("truncate", "truncate -s 0 $F").by("/usr/bin/truncate"),
        Way::file("fallocate", "fallocate -l 100 $F").by("/usr/bin/fallocate"),
        Way::file("tar", "tar -C $D -xf /srv/ways/changed.tar").by("/usr/bin/tar"),
        Way::file("rsync", "rsync --checksum /srv/ways/changed.d/file $D/").by("/usr/bin/rsync"),
        Way::file("git checkout", "cd $D && git checkout -q -- file").by("/usr/bin/git").before(
            "runuser -u ada -- sh -c 'cd $D && git init -q . && \
             git update-index --add --cacheinfo 100644,$(git hash-object -w /srv/ways/changed),file'",
        ),
        Way::file("one system call", "/srv/ways/truncates $F").by("/srv/ways/truncates"),
        Way::file("one that writes and ends", "/srv/ways/writes $F").by("/srv/ways/writes"),
        Way::file("mapped into memory", "/srv/ways/maps.py $F").by("/usr/bin/python3").alive(),
    ]
}

fn attributes() -> Vec<Way> {
    vec![
        Way::file("chmod", "chmod 600 $F").by("/usr/bin/chmod"),
        Way::file("setfacl", "setfacl -m u:ben:rw $F").by("/usr/bin/setfacl"),
    ]
}

fn names() -> Vec<Way> {
    vec![
        Way::file("mv over it", "mv $D/new $F")
            .by("/usr/bin/mv")
            .before("install -o ada /srv/ways/changed $D/new"),
        Way::file("rm", "rm $F").by("/usr/bin/rm"),
        Way::file("ln -sf", "ln -sf /srv/ways/changed $F").by("/usr/bin/ln"),
        Way::file("touch", "touch $F").by("/usr/bin/touch").absent(),
    ]
}
