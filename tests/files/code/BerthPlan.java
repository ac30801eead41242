package org.example.harbour;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;

/** Gives each ship the berth that is free first. */
public final class BerthPlan {
    public record Call(String ship, int arrives, int stays) {}

    public record Mooring(String ship, int berth, int from) {}

    private record Berth(int number, int freeFrom) {}

    private BerthPlan() {}

    public static List<Mooring> plan(List<Call> calls, int berths) {
        var free = new PriorityQueue<Berth>(
                Comparator.comparingInt(Berth::freeFrom).thenComparingInt(Berth::number));
        for (int number = 1; number <= berths; number++) {
            free.add(new Berth(number, 0));
        }
        var moorings = new ArrayList<Mooring>();
        calls.stream().sorted(Comparator.comparingInt(Call::arrives)).forEach(call -> {
            Berth berth = free.remove();
            int from = Math.max(call.arrives(), berth.freeFrom());
            moorings.add(new Mooring(call.ship(), berth.number(), from));
            free.add(new Berth(berth.number(), from + call.stays()));
        });
        return moorings;
    }
}
