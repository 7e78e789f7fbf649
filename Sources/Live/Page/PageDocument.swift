/// The page: one document, with its style and its script in it.
enum PageDocument {
    /// The text for one answer.
    ///
    /// - Parameter nonce: Fresh for each: what has it may run, and nothing else.
    static func text(nonce: String) -> String {
        var text = String(decoding: PackageResources.page_html, as: UTF8.self)
        text.replace("{nonce}", with: nonce)
        text.replace("{style}", with: String(decoding: PackageResources.page_css, as: UTF8.self))
        text.replace("{script}", with: String(decoding: PackageResources.page_js, as: UTF8.self))
        return text
    }

    /// What a browser may do with the page: run what has the nonce, and ask this server. `trusted-types` forbids what
    /// makes markup from text.
    static func policy(nonce: String) -> String {
        [
            "default-src 'none'", "script-src 'nonce-\(nonce)'", "style-src 'nonce-\(nonce)'",
            "connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'none'",
            "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
        ].joined(separator: "; ")
    }

    /// Headers of every answer.
    static let headers: KeyValuePairs = [
        "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    ]
}
