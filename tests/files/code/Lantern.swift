import Foundation

/// A lamp with a spare: when one bulb fails the next is turned in.
public struct Lantern {
    public enum Failure: Error, Equatable {
        case noBulbsLeft
    }

    public private(set) var bulbs: [Bulb]

    public struct Bulb: Equatable {
        public let watts: Int
        public var hours: Double = 0
        public let life: Double

        public var isSpent: Bool { hours >= life }
    }

    public init(bulbs: [Bulb]) {
        self.bulbs = bulbs
    }

    /// Burns for some hours; a spent bulb is taken out.
    public mutating func burn(hours: Double) throws {
        var left = hours
        while left > 0 {
            guard var bulb = bulbs.first else { throw Failure.noBulbsLeft }
            let burnt = min(left, bulb.life - bulb.hours)
            bulb.hours += burnt
            left -= burnt
            bulbs[0] = bulb
            if bulb.isSpent { bulbs.removeFirst() }
        }
    }
}
