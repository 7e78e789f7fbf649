import Testing

@testable import Live

@Suite struct ScreenTests {
    @Test(arguments: [
        ("nginx", "nginx"), ("a\u{1b}[31mb", "a?[31mb"), ("a\nb\tc\u{7f}", "a?b?c?"),
        ("\u{202e}txt", "?txt"), ("\u{200b}x\u{feff}", "?x?"), ("\u{9b}2J", "?2J"),
        ("\u{301}e", "?e"), ("e\u{301}", "e\u{301}"), ("漢字", "漢字"), ("\u{2028}", "?"),
        ("e" + String(repeating: "\u{301}", count: 50), "?"), ("\u{e000}", "?"),
    ]) func `nothing of a name moves the cursor or hides`(text: String, shown: String) {
        #expect(ScreenText.clean(text) == shown)
    }

    @Test func `columns are counted as a terminal does`() {
        #expect(ScreenText.width("abc") == 3 && ScreenText.width("漢字") == 4)
        #expect(ScreenText.width("e\u{301}é") == 2 && ScreenText.width("🙂") == 2)
        #expect(ScreenText.prefix("漢字x", 3) == "漢" && ScreenText.prefix("abc", 0) == "")
    }

    @Test func `a text takes exactly the room that it has`() {
        for text in ["", "a", "127.0.0.1:8000", "漢字漢字漢字漢字", "é🙂x漢", "[fd77::1:2:3]:65535"] {
            for columns in 0...24 {
                for fromMiddle in [false, true] {
                    for isRight in [false, true] {
                        let fitted = ScreenText.fit(
                            text, columns, isRight: isRight, fromMiddle: fromMiddle)
                        #expect(ScreenText.width(fitted) == columns, "\(text) \(columns) \(fitted)")
                    }
                }
            }
        }
        #expect(ScreenText.fit("[fd77::1:2:3]:65535", 15, fromMiddle: true) == "[fd77::…]:65535")
        #expect(
            ScreenText.fit("abcdef", 4) == "abc…" && ScreenText.fit("7", 3, isRight: true) == "  7")
    }

    @Test func `long texts are wrapped, and no word is lost`() {
        let text = "A TCP listener\n  Why: " + String(repeating: "x", count: 45) + " end\n\nlast"
        for columns in [10, 14, 20, 80] {
            let lines = ScreenText.wrapped(text, columns)
            #expect(lines.allSatisfy { ScreenText.width($0) <= columns }, "\(lines)")
            #expect(lines.joined().count { $0 == "x" } == 45 && lines.last == "last")
            #expect(lines.contains(""))
        }
        #expect(ScreenText.wrapped("a    b", 20) == ["a    b"])
    }

    @Test func `what changed is sent, and nothing else`() {
        var screen = Screen()
        let lines = [ScreenLine("one"), ScreenLine("two", .good), ScreenLine("three")]
        let first = screen.update(lines, columns: 4, rows: 9, isColoured: true)
        #expect(first.contains("one") && first.contains("\u{1b}[32mtwo\u{1b}[0m"))
        #expect(first.contains("thre") && !first.contains("three"))
        #expect(screen.update(lines, columns: 4, rows: 9, isColoured: true) == "")
        var changed = lines
        changed[1] = ScreenLine("2")
        #expect(
            screen.update(changed, columns: 4, rows: 9, isColoured: true)
                == "\u{1b}[2;1H\u{1b}[K2")
        // A line that is gone is erased, and no row is beyond the last.
        #expect(
            screen.update(Array(changed.prefix(2)), columns: 4, rows: 9, isColoured: true)
                == "\u{1b}[3;1H\u{1b}[K")
        screen.forget()
        let again = screen.update(changed, columns: 4, rows: 2, isColoured: false)
        #expect(again.hasPrefix("\u{1b}[2J") && !again.contains("\u{1b}[3;"))
        #expect(!again.contains("\u{1b}[32m"))
    }

    @Test func `a row under the cursor is shown in reverse to its end`() {
        var line = ScreenLine([("a", .good), (" ", .plain), ("0", .faint)])
        #expect(line.escaped(9, isColoured: false) == "a \u{1b}[2m0\u{1b}[0m")
        line.isReversed = true
        #expect(line.escaped(6, isColoured: true) == "\u{1b}[7ma 0   \u{1b}[0m")
    }

    private let columns = [
        ScreenColumn(title: "A", least: 3, most: 10, rank: 0),
        ScreenColumn(title: "B", least: 5, most: 20, rank: nil),
        ScreenColumn(title: "C", least: 5, most: 20, rank: 1, isRight: true),
    ]

    @Test func `columns give way, the least important first, and those that are empty`() {
        let table = ScreenTable(
            columns: columns,
            rows: [
                [ScreenCell("abcd"), ScreenCell("127.0.0.1:80"), ScreenCell("1")],
                [ScreenCell(""), ScreenCell("\u{1b}"), ScreenCell("22")],
            ])
        #expect(table.widths(80) == [4, 12, 5] && table.widths(17) == [3, 5, 5])
        #expect(table.widths(16) == [nil, 9, 5] && table.widths(11) == [nil, 11, nil])
        for room in 5...40 {
            let (titles, rows) = table.lines(room)
            for line in [titles] + rows {
                #expect(ScreenText.width(line.text) <= room, "\(room) \(line.text)")
            }
        }
        let empty = ScreenTable(
            columns: columns, rows: [[ScreenCell(""), ScreenCell("x"), ScreenCell("-")]])
        #expect(empty.widths(80) == [nil, 5, nil])
    }
}
