using System.Globalization;
using System.Text;
using Sojourn.Wire;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.VirtualInternet.Net;

/// <summary>What was said, for people: one line per message with its virtual time. Filled only when asked for.</summary>
internal sealed class Trace(bool enabled, DateTimeOffset start)
{
    private readonly List<string> _lines = [];

    public bool Enabled => enabled;

    /// <summary>"from > to MESSAGE" of every signalling message that was delivered or lost, for tests that compare orders.</summary>
    public List<string> Arrows { get; } = [];

    public void Message(DateTimeOffset now, EngineNode from, EngineNode to, string what, string fate = "")
    {
        if (enabled)
        {
            Arrows.Add($"{from} > {to} {what}{fate}");
            Line(now, $"{from,6} ──▶ {to,-6} {what}{fate}");
        }
    }

    public void Note(DateTimeOffset now, string text)
    {
        if (enabled)
        {
            Line(now, text);
        }
    }

    public void Event(DateTimeOffset now, EngineNode node, EngineEvent what)
    {
        if (enabled)
        {
            Line(now, $"{node,6}  ·  {what.Kind}: {what.Text}{(what.Rule is null ? "" : $" [{what.Rule}]")}");
        }
    }

    /// <summary>Name of a Mobile IP message; null for what is not one.</summary>
    public static string Name(ReadOnlySpan<byte> octets) =>
        !MobileIpMessage.TryParse(octets, out MobileIpMessage? message, out _) ? "unreadable" : message switch
        {
            RegistrationRequest m => string.Create(CultureInfo.InvariantCulture, $"RRQ {m.Lifetime} s"),
            RegistrationReply m => m.Code.IsAccepted() ? string.Create(CultureInfo.InvariantCulture, $"RRP {m.Lifetime} s") : $"RRP refused ({(byte)m.Code})",
            BindingUpdate m => m.Remove ? "BU remove" : string.Create(CultureInfo.InvariantCulture, $"BU {m.Lifetime} s"),
            BindingAcknowledgement m => m.Status == BindingStatus.Accepted ? "BA" : $"BA refused ({(byte)m.Status})",
            BindingRequest => "BR",
            _ => message.Type.ToString(),
        };

    /// <summary>Names of the Diameter messages that start and end in a piece of stream; base protocol housekeeping is left out.</summary>
    public static IEnumerable<string> DiameterNames(ReadOnlyMemory<byte> octets)
    {
        while (octets.Length >= 20 && DiameterHeader.TryMeasure(octets.Span, DiameterLimits.Default, out var length, out _) && length <= octets.Length)
        {
            if (DiameterMessage.TryParse(octets[..length], DiameterLimits.Default, out var message, out WireError _) && NameOf(message.CommandCode) is { } name)
            {
                var result = message.IsRequest || message.ResultCode == DiameterResult.Success ? "" : string.Create(CultureInfo.InvariantCulture, $" {message.ResultCode}");
                yield return $"{name}{(message.IsRequest ? 'R' : 'A')}{result}";
            }

            octets = octets[length..];
        }
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (var line in _lines)
        {
            text.AppendLine(line);
        }

        return text.ToString();
    }

    private static string? NameOf(uint command) => command switch
    {
        260 => "AM",
        262 => "HA",
        274 => "AS",
        275 => "ST",
        _ => null,
    };

    private void Line(DateTimeOffset now, string text) => _lines.Add(string.Create(CultureInfo.InvariantCulture, $"{(now - start).TotalSeconds,10:0.0000}  {text}"));
}
