// # Who gets what
//
// The port is on loopback, where every user's programs and every web page of a browser can connect. So
//   - the name in `Host` must be ours: a page of another name that the name's owner points here (DNS rebinding) has its own;
//   - a request of another origin is refused, and no answer has a header that would let one be read;
//   - the page itself says nothing. What it shows takes the token, which stands behind the # of the address: browsers
//     never send that part, and the page's script sends it as a header. It is no cookie: a browser would send that to all
//     ports of 127.0.0.1, and so to the mirrors of the guest's servers.

/// What the guard looks at.
package struct PageRequest: Equatable, Sendable {
    /// The method, as `GET`.
    package var method: String
    /// The path with its query.
    package var uri: String
    /// All headers called `Host`.
    package var hosts: [String]
    /// `Origin`, where there is one.
    package var origin: String?
    /// `Sec-Fetch-Site`, where there is one.
    package var site: String?
    /// `Authorization`, where there is one.
    package var authorization: String?

    /// Describes a request.
    package init(method: String = "GET", uri: String, hosts: [String]) {
        self.method = method
        self.uri = uri
        self.hosts = hosts
    }

    /// The path without its query.
    var path: Substring { uri.prefix { $0 != "?" } }

    /// The first value of a key of the query.
    func query(_ key: String) -> Substring? {
        for part in uri.drop(while: { $0 != "?" }).dropFirst().split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if pair[0] == key, pair.count == 2 { return pair[1] }
        }
        return nil
    }
}

/// Decides what a request gets. Pure.
package struct PageGuard: Sendable {
    /// What is served.
    package enum Resource: Equatable, Sendable {
        /// The page, which has nothing of the helper in it.
        case document
        /// The stream of what there is to show.
        case stream
        /// `explain`'s text of the row of a number.
        case explanation(UInt64)
    }

    /// Why not.
    package struct Refusal: Error, Equatable, Sendable {
        /// The status.
        package let code: Int
        /// In one line.
        package let text: String

        static let method = Refusal(code: 405, text: "only GET is served")
        static let host = Refusal(
            code: 421, text: "this is not the name of the page: use the address that was printed")
        static let origin = Refusal(code: 403, text: "other pages get nothing")
        static let token = Refusal(
            code: 401, text: "the token is missing or wrong: use the address that was printed")
        static let full = Refusal(code: 503, text: "eight browsers look already")
        static let missing = Refusal(code: 404, text: "there is no such resource")
    }

    private let names: Set<String>
    private let token: PageToken

    /// Guards a page at a port of this machine.
    package init(port: UInt16, token: PageToken) {
        names = ["127.0.0.1:\(port)", "localhost:\(port)"]
        self.token = token
    }

    /// What a request gets.
    package func resource(for request: PageRequest) throws(Refusal) -> Resource {
        guard request.hosts.count == 1, names.contains(request.hosts[0].lowercased()) else {
            throw .host
        }
        guard request.method == "GET" else { throw .method }
        if let origin = request.origin, origin != "http://\(request.hosts[0])" { throw .origin }
        if request.path == "/" { return .document }
        // A link may lead to the page, and to nothing else.
        if let site = request.site, !["same-origin", "none"].contains(site) { throw .origin }
        guard request.path.hasPrefix("/v1/") else { throw .missing }
        guard let given = request.authorization, given.hasPrefix("Bearer "),
            token.matches(String(given.dropFirst(7)))
        else { throw .token }
        switch request.path {
        case "/v1/stream": return .stream
        case "/v1/explain":
            guard let row = request.query("row").flatMap({ UInt64($0) }) else { throw .missing }
            return .explanation(row)
        default: throw .missing
        }
    }
}
