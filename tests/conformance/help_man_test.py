#!/usr/bin/env python3
"""Help and manual agree: each command and option of one stands in the other, and pages are sound."""

import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests"))
import tap  # noqa: E402

VSTORE = os.environ.get("VSTORE_BUILD", os.path.join(ROOT, "build")) + "/vstore"
PAGES = os.path.join(ROOT, "mgmt", "cli")


def vstore(*words):
    done = subprocess.run([VSTORE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.returncode, done.stderr)
    return done.stdout


def help_options(lines):
    """{name: value's name or ""} of help's option lines."""
    found = {}
    for line in lines:
        match = re.match(r"^  --([a-z-]+)(?: (\S+))?", line)
        if match:
            found[match.group(1)] = match.group(2) or ""
    return found


def help_commands():
    """{"volume create NAME": (page, {option: value})} of everything that help knows."""
    commands = {}
    for block in re.split(r"(?m)^(?=usage: )", vstore("help", "--all"))[1:]:
        lines = block.splitlines()
        usage = lines[0]
        for more in lines[1:]:
            if not more.startswith("    "):
                break
            usage += " " + more.strip()
        words = usage[len("usage: vstore "):]
        title = re.split(r" (?:\[)?--", words)[0]
        page = re.search(r"manual: ([a-z-]+)\(1\)", block).group(1)
        assert title not in commands, title
        commands[title] = (page, help_options(lines))
    assert commands
    return commands


def plain(text):
    """What a line of a page shows, without its markup."""
    return re.sub(r"\\f[BIR]", "", text).replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


def page_options(lines):
    found = {}
    for before, line in zip(lines, lines[1:]):
        match = re.match(r'^\.(?:B|BI) "?(?:\\-){2}([a-z\\-]+?) ?"?(?: "([^"]*)")?$', line)
        if before == ".TP" and match:
            found[plain(match.group(1))] = plain(match.group(2) or "")
    return found


def page_commands():
    """The same as help_commands, from the manual pages."""
    commands = {}
    for path in glob.glob(os.path.join(PAGES, "vstore*.1")):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        page = os.path.basename(path)[:-2]
        for section in re.split(r"(?m)^\.SS ", text)[1:]:
            lines = re.split(r"(?m)^\.SH ", section)[0].splitlines()
            title = plain(lines[0])
            assert title.startswith("vstore "), (page, title)
            commands[title[len("vstore "):]] = (page, page_options(lines))
    return commands


def test_every_command_is_in_its_page_and_none_else():
    shown, written = help_commands(), page_commands()
    assert sorted(shown) == sorted(written), set(shown) ^ set(written)
    for title, (page, _) in shown.items():
        assert written[title][0] == page, (title, page, written[title][0])


def test_every_option_is_in_the_manual_and_the_reverse():
    shown, written = help_commands(), page_commands()
    different = {t: (shown[t][1], written[t][1]) for t in shown.keys() & written.keys()
                 if shown[t][1] != written[t][1]}
    assert not different, different
    assert sum(len(options) for _, options in shown.values()) > 40


def test_global_options_agree():
    shown = help_options(vstore("--help").splitlines())
    with open(os.path.join(PAGES, "vstore.1"), encoding="utf-8") as f:
        section = f.read().split(".SH GLOBAL OPTIONS\n")[1].split(".SH ")[0]
    assert shown and shown == page_options(section.splitlines()), shown


def test_help_of_each_command_is_its_part_of_all():
    everything = vstore("help", "--all")
    for title in help_commands():
        words = [w for w in title.split() if re.fullmatch("[a-z]+", w)]
        own = vstore(*words, "--help")
        assert own in everything, words
        assert vstore("help", *words) == own, words


def test_groups_list_their_commands():
    top = vstore("--help")
    for title in help_commands():
        group, *rest = title.split()
        assert re.search(rf"(?m)^  {group}  ", top), group
        if rest and re.fullmatch("[a-z]+", rest[0]):
            assert re.search(rf"(?m)^  {rest[0]}\b", vstore(group, "--help")), title


def test_pages_render_without_warnings():
    if not shutil.which("groff"):
        raise tap.Skip("groff is not installed")
    for path in sorted(glob.glob(os.path.join(PAGES, "*.1"))):
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", path], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr


def test_completion_offers_what_help_lists():
    script = vstore("completion", "bash")
    for title, (_, options) in help_commands().items():
        words = [w for w in title.split() if re.fullmatch("[a-z]+", w)]
        line = ["vstore", *words, "--"]
        asked = subprocess.run(
            ["bash", "-c", f"{script}\nCOMP_WORDS=({' '.join(line)})\nCOMP_CWORD={len(line) - 1}\n"
             "_vstore; printf '%s\\n' \"${COMPREPLY[@]}\""],
            capture_output=True, text=True, check=True).stdout.split()
        for option in [*options, "json", "help"]:
            assert "--" + option in asked, (title, option, asked)


if __name__ == "__main__":
    tap.run(test_every_command_is_in_its_page_and_none_else,
            test_every_option_is_in_the_manual_and_the_reverse,
            test_global_options_agree,
            test_help_of_each_command_is_its_part_of_all,
            test_groups_list_their_commands,
            test_pages_render_without_warnings,
            test_completion_offers_what_help_lists)
