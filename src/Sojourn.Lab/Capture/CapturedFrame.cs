namespace Sojourn.Lab.Capture;

/// <summary>One frame as it entered a link.</summary>
/// <param name="Link">Link name.</param>
/// <param name="Sender">0 or 1: which end sent it.</param>
/// <param name="Time">Nanoseconds since 1970.</param>
/// <param name="Data">From the Ethernet header on, without frame check sequence.</param>
/// <param name="Comment">What the lab did to it; null for what the nodes did by themselves.</param>
public sealed record CapturedFrame(string Link, int Sender, long Time, byte[] Data, string? Comment = null)
{
    public const string LostComment = "lost on the link (by the scenario)";

    /// <summary>True when it never reached the other end because the scenario said so.</summary>
    public bool Lost => Comment == LostComment;

    public DateTimeOffset At => DateTimeOffset.UnixEpoch.AddTicks(Time / 100);
}
