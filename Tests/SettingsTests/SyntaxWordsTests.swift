import Settings
import Testing

@Suite struct SyntaxWordsTests {
    @Test(arguments: [
        (
            "guestToHost:\n  only: [tcp/22, */80]\n",
            "s.yaml:2:18: not YAML: */80 begins with *, which YAML takes for an alias; expected text: put it in "
                + "quotes, as \"*/80\""
        ),
        (
            "guestToHost:\n  only:\n    - */80\n",
            "s.yaml:3:7: not YAML: */80 begins with *, which YAML takes for an alias; expected text: put it in "
                + "quotes, as \"*/80\""
        ),
        (
            "guestToHost:\n  only: *x\n",
            "s.yaml:2:9: not YAML: *x begins with *, which YAML takes for an alias; expected text: put it in quotes, "
                + "as \"*x\""
        ),
        (
            "guestToHost:\n  bind: @auto\n",
            "s.yaml:2:9: not YAML: @auto begins with @, which YAML reserves for itself; expected "
                + "text: put it in quotes, as \"@auto\""
        ),
        (
            "guestToHost: {bind: auto\nudp: {}\n",
            "s.yaml:2:4: not YAML: the { of line 1, column 14 has no end before this; expected , or }, found \":\"; "
                + "close it with }, or put a text with { } [ ] or , in quotes"
        ),
        (
            "guestToHost:\n  only: [tcp/22\n",
            "s.yaml:3:1: not YAML: the [ of line 2, column 9 has no end before this; expected , or ], found the end "
                + "of the file; close it with ], or put a text with { } [ ] or , in quotes"
        ),
        (
            "tunnel:\n  key: \"/etc/x\nudp: {}\n",
            "s.yaml:4:1: not YAML: the quote of line 2, column 8 has no end; close it with the same kind of quote"
        ),
        (
            "udp: \u{1}\n", "s.yaml:1:6: not YAML: a control character; expected text: delete it"
        ),
    ]) func `text that is not YAML is told as what stands there and how to mend it`(
        text: String, expected: String
    ) {
        #expect(fileProblem(text) == expected)
    }

    @Test(arguments: [
        ("tunnel: key: /etc/x\n", "1:12", "a second colon"),
        ("udp:\n  idle: 5s\n    ephemeralAfter: 2s\n", "3:19", "indented more than the one above"),
        ("tunnel:\n  key: \"/etc/\\d\"\n", "2:14", "use single quotes"),
        (
            "tunnel:\n  listen: unix:///x\n key: /etc/x\n", "3:2",
            "found \"key:\"; expected a key in"
        ),
        ("guestToHost:\n  only:\n  - tcp/22\n  tcp/33\n", "5:1", "ends without a colon"),
        ("- a\nudp: {}\n", "2:1", "found \"udp:\"; expected \"- \" before another item"),
        ("---\nudp: {}\n---\nscan: {}\n", "3:1", "a second document"),
        ("udp: &\n", "1:6", "a lone &"), ("guestToHost:\n  bind: %auto\n", "2:9", "in quotes"),
        ("udp: ]\n", "1:6", "found \"]\"; expected"),
        ("tunnel: {listen: tcp://[::1]:80}\n", "1:24", "put a text with { } [ ] or , in quotes"),
        ("udp:\n\tidle: 5s\n", "2:1", "a tab; use spaces"),
    ]) func `every problem has a place, and words of ours`(
        text: String, place: String, words: String
    ) {
        let found = fileProblem(text)
        #expect(found.hasPrefix("s.yaml:\(place): not YAML: "), "\(found)")
        #expect(found.contains(words), "\(found)")
        for leak in ["did not find", "token", "stream", "context"] {
            #expect(!found.contains(leak) || found.hasSuffix(")"), "\(found)")
        }
    }
}
