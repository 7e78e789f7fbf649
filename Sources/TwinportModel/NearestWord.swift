/// What somebody who mistyped a word meant.
package enum NearestWord {
    /// The known word that is nearest to `word`, if at most three letters have to change, and no
    /// more than half of them.
    package static func to(_ word: String, among known: [String]) -> String? {
        let nearest = known.map { ($0, distance($0, word)) }.min { $0.1 < $1.1 }
        guard let (name, changes) = nearest else { return nil }
        return changes <= min(3, word.count / 2) ? name : nil
    }

    /// How many letters have to change, for names of at most 40 letters; two neighbours that are swapped count as one
    /// (optimal string alignment).
    private static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a.lowercased().prefix(40))
        let b = Array(b.lowercased().prefix(40))
        var (before, above) = ([Int](), Array(0...b.count))
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var least = min(row[j] + 1, above[j + 1] + 1, above[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                    least = min(least, before[j - 1] + 1)
                }
                row.append(least)
            }
            (before, above) = (above, row)
        }
        return above[b.count]
    }
}
