using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;

namespace Example.Harbour;

public readonly record struct Cargo(string Container, string Content, decimal Tonnes);

/// <summary>Reads what a ship carries, a line per container, fields between semicolons.</summary>
public static class Manifest
{
    public static IEnumerable<Cargo> Read(TextReader lines)
    {
        var number = 0;
        while (lines.ReadLine() is { } line)
        {
            number++;
            if (line.Split(';') is not [var container, var content, var tonnes])
            {
                throw new FormatException($"line {number}: three fields are needed");
            }
            yield return new Cargo(
                container.Trim(),
                content.Trim(),
                decimal.Parse(tonnes, CultureInfo.InvariantCulture));
        }
    }

    public static IReadOnlyDictionary<string, decimal> TonnesByContent(IEnumerable<Cargo> cargo) =>
        cargo.GroupBy(one => one.Content)
            .ToDictionary(group => group.Key, group => group.Sum(one => one.Tonnes));
}
