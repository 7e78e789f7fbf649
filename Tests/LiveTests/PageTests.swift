import Reports
import Testing
import TwinportModel

@testable import Live

@Suite struct PageTests {
    private let token = PageToken()

    private func request(
        _ uri: String, host: String = "127.0.0.1:8080", token: String? = nil
    ) -> PageRequest {
        var request = PageRequest(uri: uri, hosts: [host])
        request.authorization = token.map { "Bearer \($0)" }
        return request
    }

    private func code(_ request: PageRequest) -> Int {
        do throws(PageGuard.Refusal) {
            _ = try PageGuard(port: 8_080, token: token).resource(for: request)
            return 200
        } catch {
            return error.code
        }
    }

    @Test func `a token is long, new each time, and only itself`() {
        #expect(token.text.count == 48 && PageToken().text != PageToken().text)
        #expect(token.matches(token.text))
        var other = Array(token.text)
        other[47] = other[47] == "0" ? "1" : "0"
        for wrong in ["", "x", String(other), String(token.text.dropLast()), token.text + "0"] {
            #expect(!token.matches(wrong))
        }
    }

    @Test func `the page takes our name, and what it shows the token, too`() {
        let good = token.text
        #expect(code(request("/")) == 200)
        #expect(code(request("/?x", host: "localhost:8080")) == 200)
        #expect(code(request("/v1/stream", token: good)) == 200)
        #expect(code(request("/v1/explain?row=7", token: good)) == 200)
        for uri in ["/v1/stream", "/v1/explain?row=7", "/v1/x"] {
            #expect(code(request(uri)) == 401 && code(request(uri, token: good + "0")) == 401)
            #expect(code(request("\(uri)?token=\(good)")) == 401)
        }
        var basic = request("/v1/stream")
        basic.authorization = good
        #expect(code(basic) == 401)
        for uri in ["/v1/explain", "/v1/explain?row=x", "/v1/ports", "/v1/"] {
            #expect(code(request(uri, token: good)) == 404, "\(uri)")
        }
        for uri in ["/favicon.ico", "/index.html", "//", "", "*"] {
            #expect(code(request(uri, token: good)) == 404, "\(uri)")
        }
    }

    @Test func `another name, as of a page that was rebound, gets nothing`() {
        for host in [
            "evil.example:8080", "127.0.0.1", "127.0.0.1:8081", "localhost", "[::1]:8080", "",
            "127.0.0.1:8080.evil.example", "evil.example@127.0.0.1:8080",
        ] {
            #expect(code(request("/", host: host)) == 421, "\(host)")
            #expect(code(request("/v1/stream", host: host, token: token.text)) == 421)
        }
        var none = request("/")
        none.hosts = []
        #expect(code(none) == 421)
        none.hosts = ["127.0.0.1:8080", "127.0.0.1:8080"]
        #expect(code(none) == 421)
    }

    @Test func `other origins and methods get nothing, with the token or without`() {
        for origin in ["http://evil.example", "null", "https://127.0.0.1:8080", "http://127.0.0.1"]
        {
            var request = request("/v1/stream", token: token.text)
            request.origin = origin
            #expect(code(request) == 403, "\(origin)")
        }
        var own = request("/v1/stream", token: token.text)
        (own.origin, own.site) = ("http://127.0.0.1:8080", "same-origin")
        #expect(code(own) == 200)
        for site in ["cross-site", "same-site"] {
            own.site = site
            #expect(code(own) == 403)
        }
        for method in ["POST", "HEAD", "OPTIONS", "PUT"] {
            var request = request("/v1/stream", token: token.text)
            request.method = method
            #expect(code(request) == 405)
        }
    }

    @Test func `the document carries the nonce where the policy wants it, and asks nobody else`() {
        let text = PageDocument.text(nonce: "abc")
        #expect(text.contains(#"<style nonce="abc">"#) && text.contains(#"<script nonce="abc">"#))
        #expect(
            !text.contains("{nonce}") && !text.contains("{style}") && !text.contains("{script}"))
        let addresses = text.matches(of: /(?:https?:)?\/\/[a-z][a-z0-9.]+/).map { String($0.0) }
        // The one of SVG's elements is a name, which nobody asks.
        #expect(Set(addresses) == ["http://www.w3.org"], "\(addresses)")
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            #expect(!text.contains(word), "\(word)")
        }
        #expect(!text.contains(" style=") && !text.contains(" onclick="))
        let policy = PageDocument.policy(nonce: "abc")
        #expect(policy.hasPrefix("default-src 'none'; script-src 'nonce-abc'"))
        #expect(!policy.contains("unsafe"))
    }
}

@Suite struct PageModelTests {
    private func port(_ number: UInt16, bytes: UInt64 = 0, _ state: MirrorState = .active)
        -> PortSnapshot
    {
        PortSnapshot(
            direction: .guestToHost, kind: .tcp, listener: Endpoint(.loopbackV4, number),
            state: state, bytesIn: bytes)
    }

    private func say(_ model: inout PageModel, _ ports: [PortSnapshot], second: UInt64) {
        model.take(.report(StatusReport(), ports, []), at: second * 1_000_000_000)
    }

    @Test func `a reader is told all, then what changed, however long it did not read`() {
        var model = PageModel()
        say(&model, [port(80), port(81)], second: 1)
        let first = model.news(since: nil)
        #expect(first.reset && first.rowNumbers == [1, 2] && first.gone.isEmpty)
        let version = model.version
        #expect(model.news(since: version).rowNumbers == [])
        say(&model, [port(80), port(81, bytes: 1_000), port(82)], second: 2)
        say(&model, [port(80, .conflict), port(82)], second: 3)
        let later = model.news(since: version)
        #expect(!later.reset && later.rowNumbers == [1, 3] && later.gone == [2])
        #expect(model.port(3)?.listener.port == 82 && model.port(2) == nil)
        #expect(model.news(since: model.version).rowNumbers == [])
        // The same listener once more is another row.
        say(&model, [port(80, .conflict), port(81), port(82)], second: 4)
        #expect(model.news(since: version).rowNumbers == [1, 3, 4])
    }

    @Test func `a rate that ends is told once`() {
        var model = PageModel()
        say(&model, [port(80)], second: 1)
        say(&model, [port(80, bytes: 500)], second: 2)
        #expect(model.news(since: 1).rateIn == 500 && model.news(since: 1).rowNumbers == [1])
        say(&model, [port(80, bytes: 500)], second: 3)
        #expect(model.news(since: 2).rateIn == 0 && model.news(since: 2).rowNumbers == [1])
        say(&model, [port(80, bytes: 500)], second: 4)
        #expect(model.news(since: 3).rowNumbers == [])
    }

    @Test func `a helper that says nothing takes no row away`() {
        var model = PageModel()
        say(&model, [port(80)], second: 1)
        model.take(.trouble("gone"), at: 2_000_000_000)
        let news = model.news(since: 1)
        #expect(news.trouble == "gone" && news.gone.isEmpty && model.port(1) != nil)
        say(&model, [], second: 3)
        #expect(model.news(since: 1).gone == [1] && model.news(since: 1).trouble == nil)
    }

    @Test func `what went away is not kept without end; who missed it begins anew`() {
        var model = PageModel()
        for second in 1...12 {
            say(
                &model, (1...1_000).map { port(UInt16($0 + Int(second % 2) * 1_000)) },
                second: UInt64(second))
        }
        let old = model.news(since: 2)
        #expect(old.reset && old.rowNumbers.count == 1_000 && old.gone.isEmpty)
        let recent = model.news(since: 10)
        #expect(!recent.reset && recent.gone.count == 2_000 && recent.rowNumbers.count == 1_000)
    }
}
