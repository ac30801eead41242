using System;
using System.Collections.Generic;
using System.Linq;

namespace Example.Harbour;

/// <summary>A light's rhythm: seconds that it is on and off, in turn.</summary>
public sealed record Rhythm(IReadOnlyList<double> Phases)
{
    public double Period => Phases.Sum();

    public bool IsLit(double second)
    {
        var rest = second % Period;
        for (var phase = 0; phase < Phases.Count; phase++)
        {
            if (rest < Phases[phase])
            {
                return phase % 2 == 0;
            }
            rest -= Phases[phase];
        }
        throw new InvalidOperationException("a period is the sum of its phases");
    }
}

public interface IObserver
{
    void Seen(string name, double second);
}

public sealed class Beacon(string name, Rhythm rhythm)
{
    private readonly List<IObserver> _observers = [];

    public event Action<string>? Failed;

    public void Watch(IObserver observer) => _observers.Add(observer);

    public void Tick(double second, bool lampWorks)
    {
        if (!lampWorks)
        {
            Failed?.Invoke(name);
        }
        else if (rhythm.IsLit(second))
        {
            _observers.ForEach(observer => observer.Seen(name, second));
        }
    }
}
