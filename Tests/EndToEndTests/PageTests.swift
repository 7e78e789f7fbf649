import Foundation
import Testing

extension EndToEnd {
    /// `twinport page`, as curl and a browser see it.
    @Suite(.serialized) struct Page {
        private struct Address {
            let base: String
            let token: String
            var full: String { "\(base)#token=\(token)" }
        }

        private func page(_ lab: Lab) throws -> Address {
            let program = try lab.start(
                .host, sh: "exec \(Lab.programPath) page --control \(lab.controlPath)")
            try lab.wait("the page's address", within: 10) {
                program.output.contains("#token=") && program.output.contains("Ctrl-C")
            }
            let line = try #require(program.output.split(separator: "\n").first)
            let parts = line.split(separator: "#token=")
            return Address(base: String(parts[0]), token: String(parts[1]))
        }

        private func curl(_ lab: Lab, _ rest: String) throws -> String {
            try lab.sh(.host, "curl -sSi -m 5 \(rest)").output
        }

        private func withPage(_ body: (Lab, Address) throws -> Void) throws {
            try Lab.with { lab in
                for port in ["9000", "9001"] {
                    _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", port])
                }
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9002"])
                for port in 9_000...9_002 { try lab.wait("127.0.0.1:\(port)") }
                try body(lab, try page(lab))
            }
        }

        @Test func `only who has the token and uses our name gets more than the empty page`() throws
        {
            try withPage { lab, address in
                let stream = "\(address.base)v1/stream"
                let bearer = "-H 'Authorization: Bearer \(address.token)'"
                let document = try curl(lab, address.base)
                for words in [
                    "HTTP/1.1 200",
                    "Content-Security-Policy: default-src 'none'; script-src 'nonce-",
                    "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer",
                    "Cache-Control: no-store",
                ] {
                    #expect(document.contains(words), "\(words): \(document.prefix(900))")
                }
                #expect(!document.lowercased().contains("access-control-allow"))
                #expect(!document.contains("Set-Cookie") && !document.contains("9001"))
                let refused = [
                    ("401", stream), ("401", "\(stream) -H 'Authorization: Bearer 00'"),
                    ("401", "\(stream) --cookie 'token=\(address.token)'"),
                    ("401", "'\(stream)?token=\(address.token)'"),
                    ("421", "\(address.base) -H 'Host: evil.example'"),
                    ("421", "\(stream) \(bearer) -H 'Host: evil.example:80'"),
                    ("403", "\(stream) \(bearer) -H 'Origin: http://evil.example'"),
                    ("403", "\(stream) \(bearer) -H 'Sec-Fetch-Site: cross-site'"),
                    ("405", "\(stream) \(bearer) -X OPTIONS"), ("404", "\(address.base)x"),
                ]
                for (code, rest) in refused {
                    let answer = try curl(lab, rest)
                    #expect(answer.hasPrefix("HTTP/1.1 \(code)"), "\(rest): \(answer)")
                    #expect(
                        !answer.contains("9001") && !answer.lowercased().contains("access-control"))
                }
                let news = try lab.sh(.host, "curl -sSN -m 2 \(stream) \(bearer) || true").output
                #expect(news.contains("127.0.0.1:9001") && news.contains("event: news"))
                let row = try #require(
                    news.firstMatch(of: /"listener":"127\.0\.0\.1:9001".*?"row":(\d+)/))
                let text = try curl(lab, "'\(address.base)v1/explain?row=\(row.1)' \(bearer)")
                #expect(
                    text.contains("127.0.0.1:9001 in the guest") && text.contains("is mirrored"))
            }
        }

        @Test func `it is on loopback alone, and no guest gets a mirror of it`() throws {
            try withPage { lab, address in
                let port = try #require(address.base.split(separator: ":").last?.dropLast())
                let other = try curl(lab, "http://10.77.0.1:\(port)/ -H 'Host: 127.0.0.1:\(port)'")
                #expect(!other.contains("HTTP/1.1"), "\(other)")
                let row = try lab.wait("127.0.0.1:\(port)", state: "ignored")
                #expect(row.direction == "host-to-guest")
                #expect(row.reason == "the page of twinport page, for this machine alone")
                let taken = try lab.twinport(
                    ["page", "--port", "9002", "--control", lab.controlPath])
                #expect(taken.code == 1 && taken.output.contains("--port"), "\(taken)")
                let none = try lab.twinport(["page", "--control", "\(lab.directory)/none.sock"])
                #expect(none.code == 3, "\(none)")
            }
        }

        @Test func `more connections and streams than there is room for harm nobody`() throws {
            try withPage { lab, address in
                let port = try #require(address.base.split(separator: ":").last?.dropLast())
                let stream = "\(address.base)v1/stream -H 'Authorization: Bearer \(address.token)'"
                let readers = try lab.start(
                    .host,
                    sh:
                        "for i in 1 2 3 4 5 6 7 8; do (while :; do curl -sSN \(stream) > /dev/null; sleep 0.1; done) & done; wait"
                )
                var last = ""
                for _ in 0..<20 where !last.hasPrefix("HTTP/1.1 503") {
                    last = try lab.sh(.host, "sleep 0.3; curl -sSi -m 1 \(stream) || true").output
                }
                #expect(last.hasPrefix("HTTP/1.1 503"), "\(last) \(readers.output)")
                let crowd =
                    "import socket\ns=[socket.create_connection((\"127.0.0.1\",\(port))) for _ in range(200)]\n"
                    + "for c in s[:100]: c.sendall(b\"GET / HTTP/1.1\\r\\nHost: x\\r\\n\"+b\"a: b\\r\\n\"*2000)\n"
                    + "print(len(s))"
                #expect(try lab.sh(.host, "python3 -c '\(crowd)'").output.hasPrefix("200"))
                #expect(try curl(lab, address.base).hasPrefix("HTTP/1.1 200"))
                #expect(try lab.status().session == .up)
            }
        }

        private func browse(_ lab: Lab, _ steps: [String]) throws -> Outcome {
            let words = steps.map { "'\($0.replacingOccurrences(of: "'", with: "'\\''"))'" }
            return try lab.sh(
                .host,
                "TWINPORT_PATIENCE=\(Sanitizer.timeBound(2)) python3 -u \(Lab.program("browser.py")) "
                    + words.joined(separator: " "), within: 90)
        }

        /// How a script names the row of a port.
        private func row(_ port: Int) -> String {
            "[...document.querySelectorAll('#rows tr')].find(row => row.innerText.includes('127.0.0.1:\(port)'))"
        }

        private static let noChromium = "chromium is not installed"

        @Test(.enabled(if: Lab.has("chromium"), "\(noChromium)"))
        func `a listener that is started in the guest is on the page within a second`() throws {
            try withPage { lab, address in
                let start =
                    "ip netns exec \(lab.namespace(.guest)) timeout 40 python3 \(Lab.program("listen.py")) "
                    + "tcp 127.0.0.1 9100 > /dev/null 2>&1 & echo $! > \(lab.directory)/new; "
                    + "until ip netns exec \(lab.namespace(.host)) nc -z 127.0.0.1 9100; do sleep 0.02; done"
                // What a screen reader says may be followed by something else at once.
                let listening =
                    "(window.said = [], new MutationObserver(() => said.push(news.textContent))"
                    + ".observe(document.getElementById('news'), {childList: true}), true)"
                let outcome = try browse(
                    lab,
                    [
                        "open:\(address.full)", "wait:\(row(9_001))", "check:\(listening)",
                        "run:\(start)",
                        "wait:\(row(9_100))", "check:!location.href.includes('token')",
                        "wait:said.some(words => words.includes('9100, active'))",
                        "run:kill $(cat \(lab.directory)/new)", "wait:!\(row(9_100))",
                    ])
                #expect(outcome.code == 0, "\(outcome.output)")
                // From when the mirror answers, on a machine that may be busy.
                let times = outcome.output.matches(of: /:9100'\)\): (\d+) ms/).map {
                    Int($0.1) ?? 0
                }
                #expect(
                    times.first.map { Double($0) < 1_000 * Lab.loadShare } == true,
                    "\(outcome.output)")
            }
        }

        @Test(.enabled(if: Lab.has("chromium"), "\(noChromium)"))
        func `the page is searched, sorted and explained by keyboard, in both themes`() throws {
            try withPage { lab, address in
                let count = "document.querySelectorAll('#rows > tr').length"
                let pictures = ["light", "dark", "phone"].map { "\(lab.directory)/\($0).png" }
                let outcome = try browse(
                    lab,
                    [
                        "size:1280x800", "theme:light", "open:\(address.full)",
                        "wait:\(row(9_002))", "picture:\(pictures[0])",
                        "keys:/9001", "check:document.activeElement.id == 'search'",
                        "wait:\(count) == 1", "keys:{Tab}{Tab}{Tab}",
                        "check:document.activeElement.getAttribute('aria-expanded') == 'false'",
                        "keys:{Enter}",
                        "wait:(document.querySelector('.explanation pre') || {innerText: ''}).innerText.includes('is mirrored at')",
                        "check:document.activeElement.getAttribute('aria-expanded') == 'true'",
                        "theme:dark",
                        "check:getComputedStyle(document.body).backgroundColor == 'rgb(18, 22, 29)'",
                        "picture:\(pictures[1])", "keys:/{Escape}", "wait:\(count) > 2",
                        "size:390x844",
                        "check:document.documentElement.scrollWidth <= 390",
                        "picture:\(pictures[2])",
                        // What a screen reader needs.
                        "check:[...document.querySelectorAll('input, select')].every(field => field.labels.length > 0)",
                        "check:document.querySelectorAll('#rows [role=cell]').length >= 24 && !!document.querySelector('caption')",
                        "check:document.querySelector('[aria-live=polite]') && document.documentElement.lang == 'en'",
                    ])
                #expect(outcome.code == 0, "\(outcome.output)")
                for picture in pictures {
                    let bytes = try Data(contentsOf: URL(filePath: picture))
                    #expect(bytes.count > 5_000, "\(picture)")
                }
            }
        }

        @Test(.enabled(if: Lab.has("chromium"), "\(noChromium)"))
        func `what a guest calls its programs is text, and a lost helper or a wrong token is told`()
            throws
        {
            try withPage { lab, address in
                // A process may call itself anything of 15 bytes.
                let name = "<b>bold<i>"
                _ = try lab.start(
                    .guest,
                    sh: "exec python3 -c 'import ctypes,socket,time\n"
                        + "ctypes.CDLL(None).prctl(15, b\"\(name)\", 0, 0, 0)\n"
                        + "s=socket.socket(); s.bind((\"127.0.0.1\",9200)); s.listen(); time.sleep(99)'"
                )
                try lab.wait("its name") {
                    try lab.port("127.0.0.1:9200")?.owner?.contains("bold") == true
                }
                let outcome = try browse(
                    lab,
                    [
                        "open:\(address.full)", "wait:\(row(9_200))",
                        "check:\(row(9_200)).innerText.includes('<b>bold<i>')",
                        "check:!document.querySelector('#rows b, #rows i')",
                        "run:kill -9 \(lab.helper.pid)",
                        // A question that was under way may fail first.
                        "wait:document.getElementById('trouble').textContent.includes('no helper runs')",
                        "check:!document.getElementById('trouble').hidden",
                        "check:!!\(row(9_200))",
                    ])
                #expect(outcome.code == 0, "\(outcome.output)")
                let wrong = try browse(
                    lab,
                    [
                        "open:\(address.base)#token=00",
                        "wait:document.getElementById('trouble').textContent.includes('token')",
                    ])
                #expect(wrong.code == 0, "\(wrong.output)")
            }
        }
    }
}
