namespace Sojourn.Engine.MobileIpv6;

/// <summary>What a mobile node makes of a binding acknowledgement or binding error, as <see cref="MobileNode.Judge(Wire.MobileIpv6.MobileIpv6Packet, Wire.MobileIpv6.BindingAcknowledgement, long?)"/> tells.</summary>
public enum AnswerVerdict : byte
{
    /// <summary>It answers what was sent, by whom it was sent to; its status may still be a refusal.</summary>
    Good,

    /// <summary>Good, and it ends a binding that was taken back.</summary>
    TakesBack,

    /// <summary>Nothing in the binding update list waits for this sender and home address.</summary>
    NoEntry,

    /// <summary>Another sequence number, bad authorization data, or nothing is outstanding.</summary>
    NotAskedFor,

    /// <summary>Not protected as the policy demands.</summary>
    PolicyNotMet,

    /// <summary>The association it names is none of this peer's.</summary>
    NoAssociation,

    /// <summary>A binding error while packets of the peer still arrive by the short way (RFC 6275 11.3.6).</summary>
    InProgress,
}
