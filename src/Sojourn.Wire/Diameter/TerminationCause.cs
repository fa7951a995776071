namespace Sojourn.Wire.Diameter;

/// <summary>Values of Termination-Cause (RFC 6733 8.15) that foreign agents, home agents and AAA servers tell apart.</summary>
public enum TerminationCause
{
    Logout = 1,

    /// <summary>What the answer granted came to nothing: an AAAF that answered from its cache goes back to what it had.</summary>
    BadAnswer = 3,

    /// <summary>Who had service is disconnected.</summary>
    Administrative = 4,
    UserMoved = 7,
    SessionTimeout = 8,
}
