package org.example.harbour;

import java.time.Duration;
import java.time.LocalDateTime;
import java.util.List;
import java.util.NavigableMap;
import java.util.TreeMap;

/** Heights of the water at a gauge, and what lies between two readings. */
public final class TideTable {
    private final NavigableMap<LocalDateTime, Double> readings = new TreeMap<>();

    public record Reading(LocalDateTime at, double metres) {}

    public TideTable(List<Reading> known) {
        for (Reading reading : known) {
            readings.put(reading.at(), reading.metres());
        }
    }

    /** Height by the rule of the cosine between the reading before and the one after. */
    public double heightAt(LocalDateTime moment) {
        var before = readings.floorEntry(moment);
        var after = readings.ceilingEntry(moment);
        if (before == null || after == null) {
            throw new IllegalArgumentException("no readings around " + moment);
        }
        if (before.getKey().equals(after.getKey())) {
            return before.getValue();
        }
        double whole = Duration.between(before.getKey(), after.getKey()).toSeconds();
        double part = Duration.between(before.getKey(), moment).toSeconds() / whole;
        double share = (1 - Math.cos(Math.PI * part)) / 2;
        return before.getValue() + share * (after.getValue() - before.getValue());
    }
}
