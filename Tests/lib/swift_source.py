"""Reads Swift sources as far as the structure checks need it: what is a comment, what is a string, where a
declaration's braces are. It does not parse Swift; it relies on sources that the compiler and swift-format accept."""
import bisect
import re

DECLARED = re.compile(
    r"\b(?P<kind>class|struct|enum|protocol|actor|typealias)\s+(?P<name>`?[A-Z]\w*`?)(?!\w)")
FUNCTION = re.compile(r"(?<![\w.`])(?:func\s+(?P<name>[^\s(<]+|`[^`]*`)|(?P<special>init|deinit|subscript)(?=\s*[?!]?\s*[(<{]))")
STORED = re.compile(r"(?<![\w.`])var\s+")


class Source:
    """One file.

    text    without comments, strings kept: for looking for paths and symbols
    code    without comments and strings, what is interpolated kept: for looking for names and braces
    Both have the file's length and line breaks, so that positions are the same in all three.
    """

    def __init__(self, path, content):
        self.path, self.content = path, content
        self.starts = [0] + [match.end() for match in re.finditer("\n", content)]
        self.text, self.code, self.comment_lines = strip(content)
        self.depths, self.ends = braces(self.code)

    @property
    def line_count(self):
        return self.content.count("\n")

    def line(self, position):
        """The number of the line of a position, from 1 on."""
        return bisect.bisect_right(self.starts, position)

    def declared(self):
        """The names of types, protocols and type aliases at the top of the file."""
        return {m["name"].strip("`") for m in DECLARED.finditer(self.code) if self.depths[m.start()] == 0}

    def nested(self):
        """The names of those inside of others: such a name in this file means that one."""
        return {m["name"].strip("`") for m in DECLARED.finditer(self.code) if self.depths[m.start()] > 0}

    def names(self):
        """Every identifier in use."""
        return set(re.findall(r"\b[A-Z]\w*", self.code))

    def functions(self):
        """Every function with a body, as (name, first line, number of lines), from its keyword to its brace."""
        for match in FUNCTION.finditer(self.code):
            opening = self.body(match.end())
            if opening is None:
                continue
            first = self.line(match.start())
            yield match["name"] or match["special"], first, self.line(self.ends[opening]) - first + 1

    def body(self, position):
        """The brace that opens the body of the function whose name ends here; None for a requirement."""
        depth, at = 0, position
        while at < len(self.code):
            letter = self.code[at]
            if letter in "([":
                depth += 1
            elif letter in ")]":
                depth -= 1
            elif letter == "{" and depth == 0:
                return at
            elif depth < 0 or (letter == "}" and depth == 0):
                return None
            elif letter == "\n" and depth == 0 and self.ends_declaration(at):
                return None
            at += 1
        return None

    def ends_declaration(self, at):
        """Whether a line break at depth 0 of a function's head is its end: the next line is no continuation."""
        following = self.code[at:].lstrip()
        return not re.match(r"[{(<-]|where\b|throws\b|async\b|rethrows\b|->", following)

    def classes(self):
        """Every class and actor, as (name, line, its mutable stored properties)."""
        for match in DECLARED.finditer(self.code):
            if match["kind"] not in ("class", "actor"):
                continue
            opening = self.code.find("{", match.end())
            if opening in self.ends:
                yield match["name"], self.line(match.start()), self.stored(opening)

    def stored(self, opening):
        inside = self.depths[opening] + 1
        names = []
        for match in STORED.finditer(self.code, opening, self.ends[opening]):
            if self.depths[match.start()] != inside or self.is_static(match.start()):
                continue
            found, is_stored = self.property(match.end())
            names += found if is_stored else []
        return names

    def is_static(self, position):
        """Whether the modifiers before `var` say that it belongs to the type."""
        before = self.code[:position]
        modifiers = re.search(r"(?:(?:@?\w+(?:\([^()]*\))?)[ \t\n]+)*$", before)[0]
        return re.search(r"\b(?:static|class)\s", modifiers.rsplit("\n\n", 1)[-1]) is not None

    def property(self, position):
        """The names that a `var` declares, and whether they are stored: neither braces nor observers only."""
        depth, at, names, word = 0, position, [], ""
        named = False
        while at < len(self.code):
            letter = self.code[at]
            if letter in "([<":
                depth += 1
            elif letter in ")]" or (letter == ">" and self.code[at - 1] != "-"):
                depth -= 1
            elif depth == 0 and letter in ":=,\n{}" or (not named and letter == ","):
                if word.strip() and not named:
                    names.append(word.strip(" ()\n`"))
                word = ""
                if letter == "{":
                    return names, re.match(r"\{\s*(?:didSet|willSet)\b", self.code[at:]) is not None
                if letter == ":":
                    named = True
                elif letter == ",":
                    named = False
                elif letter in "=}" or not re.match(r"\s*[{=]", self.code[at:]):
                    return names, True
            else:
                word += letter
            at += 1
        return names, True


def strip(content):
    """The content without comments, and without strings too; and how many lines are comments only."""
    text, code = list(content), list(content)
    # What we are in: None for code, ("string", end, hashes), ("paren", depth) for code inside of a string.
    stack, at, commented = [], 0, set()

    def blank(target, begin, end):
        for index in range(begin, min(end, len(target))):
            if target[index] != "\n":
                target[index] = " "

    while at < len(content):
        top = stack[-1] if stack else None
        if top and top[0] == "string":
            closing, hashes = top[1], top[2]
            if content.startswith("\\" + hashes + "(", at):
                blank(code, at, at + 1 + len(hashes))
                at += 2 + len(hashes)
                stack.append(["paren", 1])
            elif content.startswith("\\" + hashes, at):
                blank(code, at, at + 2 + len(hashes))
                at += 2 + len(hashes)
            elif content.startswith(closing, at):
                blank(code, at, at + len(closing))
                at += len(closing)
                stack.pop()
            else:
                blank(code, at, at + 1)
                at += 1
            continue
        if content.startswith("//", at):
            end = content.find("\n", at)
            end = len(content) if end < 0 else end
        elif content.startswith("/*", at):
            end = end_of_block(content, at)
        else:
            opening = re.compile(r'(#*)("""|")').match(content, at)
            if opening:
                blank(code, at, opening.end())
                stack.append(["string", opening[2] + opening[1], opening[1]])
                at = opening.end()
                continue
            if top and content[at] in "()":
                top[1] += 1 if content[at] == "(" else -1
                if top[1] == 0:
                    stack.pop()
            at += 1
            continue
        commented.add((at, end))
        blank(text, at, end)
        blank(code, at, end)
        at = end
    text, code = "".join(text), "".join(code)
    lines = sum(1 for old, new in zip(content.split("\n"), text.split("\n")) if old.strip() and not new.strip())
    return text, code, lines


def end_of_block(content, at):
    """Block comments nest."""
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(content, at):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(content)


def braces(code):
    """How many braces are open before each position, and where each opening one is closed."""
    depths, ends, open_ones = [], {}, []
    for at, letter in enumerate(code):
        depths.append(len(open_ones) - (1 if letter == "}" and open_ones else 0))
        if letter == "{":
            open_ones.append(at)
        elif letter == "}" and open_ones:
            ends[open_ones.pop()] = at
    return depths, ends
