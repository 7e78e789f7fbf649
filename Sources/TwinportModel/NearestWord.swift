/// What somebody who mistyped a word meant.
package enum NearestWord {
    /// The known word that is nearest to `word`, if at most three letters have to change, and no
    /// more than half of them.
    package static func to(_ word: String, among known: [String]) -> String? {
        let nearest = known.map { ($0, distance($0, word)) }.min { $0.1 < $1.1 }
        guard let (name, changes) = nearest else { return nil }
        return changes <= min(3, word.count / 2) ? name : nil
    }

    /// How many letters have to change (Levenshtein), for names of at most 40 letters.
    private static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a.lowercased().prefix(40))
        let b = Array(b.lowercased().prefix(40))
        var row = Array(0...b.count)
        for i in 0..<a.count {
            var previous = row[0]
            row[0] = i + 1
            for j in 0..<b.count {
                let next = min(row[j] + 1, row[j + 1] + 1, previous + (a[i] == b[j] ? 0 : 1))
                previous = row[j + 1]
                row[j + 1] = next
            }
        }
        return row[b.count]
    }
}
