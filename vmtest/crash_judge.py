#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""crash_judge.py STATE SOURCES OUT MARKS: what crash_guest.sh found on the disks after power cuts,
against what the guest before it had said until then.

SOURCES tells each path that this guest could copy, and its content. OUT is what it said. MARKS has a
line for each picture that was taken of its disk (two sizes of OUT: when it was asked for and when it
was there) and a last one for the end of its power. The expectations for them go to STATE, for the
next guest; the verdict on those of the last guest is printed:

  lost: ...         was acknowledged as durable, and is not there, or older
  torn: ...         holds what was never copied to it as a whole
  left: ...         a temporary that the copy after it should have removed
  unmountable: ...  a disk as a whole
"""
import json
import os
import re
import sys

TEMPORARY = re.compile(r"\.(.+)\.taio-[0-9a-z]{10}$")
LINK = re.compile(r"\.taio-link-([0-9a-f]{8})$")


class Book:
    """What each path may hold at one moment: its content before, and what was tried since."""

    def __init__(self, there):
        self.now = dict(there)  # path: content, as acknowledged or as found
        self.tried = {}         # path: contents that may be there or not
        self.acked = set()      # paths whose last copy was acknowledged
        self.left = {path for path in there if target(path, there)}

    def copy(self, paths):
        for path, content in paths.items():
            self.tried.setdefault(path, []).append(content)

    def acknowledge(self, paths):
        for path, content in paths.items():
            self.now[path] = content
            self.tried.pop(path, None)
            self.acked.add(path)

    def dump(self):
        return {"now": self.now, "tried": self.tried, "acked": sorted(self.acked),
                "left": sorted(self.left)}


def hash_of(name):
    value = 2166136261
    for byte in name.encode():
        value = (value ^ byte) * 16777619 % 2**32
    return "%08x" % value


def target(path, known):
    """The path that a temporary belongs to, or None."""
    directory, name = os.path.split(path)
    found = TEMPORARY.match(name)
    if found:
        return os.path.join(directory, found[1])
    found = LINK.match(name)
    if found:
        for other in known:
            if os.path.dirname(other) == directory and \
                    hash_of(os.path.basename(other)) == found[1]:
                return other
    return None


def lines_of(path):
    """Each whole line, with where it ends."""
    end = 0
    with open(path, "rb") as file:
        for line in file:
            end += len(line)
            if line.endswith(b"\n"):
                yield end, line.decode(errors="replace").split()


def read(path, sources):
    """Return: looks {number: {path: content} or None}, work [(end, word, {path: content})]."""
    looks, work, number = {}, [], None
    for end, words in lines_of(path):
        if not words:
            continue
        if words[0] == "CRASH-LOOK":
            number = int(words[1])
            looks[number] = {}
        elif words[0] == "CRASH-UNMOUNTABLE":
            looks[number] = None
            print("unmountable:", *words[1:])
        elif words[0] == "HAVE":
            looks[number][words[1]] = " ".join(words[2:])
        elif words[0] == "TRY":
            to, source = words[1:3]
            paths = {to + path[len(source):]: content for path, content in sources.items()
                     if path == source or path.startswith(source + "/")}
            work.append((end, "TRY", paths))
        elif words[0] == "ACK":
            work.append((end, "ACK", work[-1][2]))
    return looks, work


def judge(book, there, ever):
    """Return: (paths that were acknowledged and looked at, lost, torn, left)"""
    lost = torn = left = 0
    known = set(book["now"]) | set(book["tried"])
    for path in sorted(known | set(there)):
        have, want = there.get(path), book["now"].get(path)
        belongs = target(path, known)
        if belongs:
            if have is not None and belongs not in book["tried"] and \
                    (belongs in book["acked"] or path not in book["left"]):
                left += 1
                print("left:", path)
        elif have == want or have in book["tried"].get(path, []):
            pass
        elif have is None or have in ever.get(path, []):
            lost += 1
            print("lost: %s is %s" % (path, "not there" if have is None else "an older one"))
        else:
            torn += 1
            print("torn: %s holds %s" % (path, have))
    return len(book["acked"]), lost, torn, left


def main():
    state_path, sources_path, out, marks_path = sys.argv[1:]
    state = {"books": [], "ever": {}, "looks": 0, "cuts": 0, "pictures": 0, "acks": 0,
             "lost": 0, "torn": 0, "left": 0, "unmountable": 0}
    if os.path.exists(state_path):
        with open(state_path) as file:
            state.update(json.load(file))
    looks, work = read(out, dict(words for _, words in lines_of(sources_path)))
    ever = state["ever"]

    for number, there in looks.items():
        if number >= len(state["books"]):
            continue  # the first guest's disk is new
        state["pictures" if number else "cuts"] += 1
        if there is None:
            state["unmountable"] += 1
            continue
        verdict = judge(state["books"][number], there, ever)
        for name, count in zip(("looks", "lost", "torn", "left"), verdict):
            state[name] += count

    with open(marks_path) as file:
        marks = [tuple(int(word) for word in line.split()) for line in file if line.strip()]
    base = looks.get(0) or {}
    books = []
    for before, after in marks[-1:] + marks[:-1]:  # the power's end is disk 0
        book = Book(base)
        for end, word, paths in work:
            if word == "ACK" and end <= before:
                book.acknowledge(paths)
            elif word == "TRY" and end <= after:
                book.copy(paths)
        books.append(book.dump())
    for _, word, paths in work:
        if word == "ACK":
            state["acks"] += 1
        for path, content in paths.items():
            if content not in ever.setdefault(path, []):
                ever[path].append(content)
    state["books"] = books
    with open(state_path, "w") as file:
        json.dump(state, file)


if __name__ == "__main__":
    main()
