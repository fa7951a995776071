using System.Net;
using Sojourn.Lab.Capture;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What the first home agent asks before it makes an association (query Q2), and in which order; tshark reads it inside TLS with the exported keys.</summary>
public sealed partial class AuthenticationAgents
{
    private const string AuthenticationFailed = "24";

    /// <param name="Status">First question about a certificate's status.</param>
    /// <param name="Asked">Question whose the prefix is.</param>
    /// <param name="Answer">Its answer, on the same connection.</param>
    /// <param name="End">The home agent's answer to IKE_AUTH.</param>
    private sealed record Questions(DissectedPacket? Status, DissectedPacket? Asked, DissectedPacket? Answer, DissectedPacket? End)
    {
        /// <summary>What the answer names as the prefix; null = it says no.</summary>
        public IPNetwork? Prefix => Answer?.Of("json.value.string").Select(v => IPNetwork.TryParse(v, out var prefix) ? prefix : (IPNetwork?)null).FirstOrDefault(p => p is not null);

        public bool Refused => End is not null && End.Of("isakmp.notify.msgtype").SequenceEqual([AuthenticationFailed]);

        public override string ToString() => $"status {(Status is null ? "not asked" : "asked")}, allocation {(Asked is null ? "not asked" : $"asked ({string.Join(" ", Asked.Of("json.value.string"))}), answer {(Answer is null ? "none" : Prefix?.ToString() ?? "no")}")}, IKE_AUTH {(End is null ? "not answered" : Refused ? "refused" : "answered")}";
    }

    /// <summary>Between a peer's IKE_AUTH at the first home agent and its answer.</summary>
    /// <param name="about">Identifier in the question.</param>
    private Questions QuestionsOf(IPAddress peer, string about, long from, long to)
    {
        var link = On("home-ha1", from, to).ToList();
        DissectedPacket? Next(DissectedPacket? after, Func<DissectedPacket, bool> wanted) => after is null ? null : link.FirstOrDefault(p => p.Time >= after.Time && wanted(p));
        var auth = link.FirstOrDefault(p => p.Sender == "sw1" && peer.Equals(p.Source) && p.Is("isakmp.exchangetype", Auth));
        var end = Next(auth, p => p.Sender == "ha1" && peer.Equals(p.Destination) && p.Is("isakmp.exchangetype", Auth));
        bool Before(DissectedPacket p) => end is null || p.Time < end.Time;
        var asked = Next(auth, p => Before(p) && p.Sender == "ha1" && p.Is("http.request.uri", "/v1/allocation") && p.Is("json.value.string", about));
        return new Questions(
            Next(auth, p => Before(p) && p.Sender == "ha1" && p.Of("http.request.uri").Any(u => u.StartsWith("/ocsp", StringComparison.Ordinal))), asked,
            Next(asked, p => Before(p) && p.Sender == "sw1" && p.From(DelegatingRouter) && p.First("tcp.dstport") == asked!.First("tcp.srcport") && p.First("http.response.code") is not null), end);
    }

    private Questions QuestionsOf(string attempt, string about) => QuestionsOf(IPAddress.Parse(Stranger), about, _when[attempt].From, _when[attempt].To);

    private void Allocation(RowBook rows)
    {
        var (mn, app) = (IPAddress.Parse(Text(_shown["mn"], "homeAddress")), IPAddress.Parse(Text(_shown["app"], "homeAddress")));
        var (named, addressed) = (QuestionsOf(IPAddress.Parse(Text(_shown["mn"], "careOfAddress")), Mn, _started, _taken), QuestionsOf(IPAddress.Parse(Text(_shown["app"], "careOfAddress")), Appliance, _started, _taken));
        var (nobodys, anothers) = (QuestionsOf("N12", Outsider), QuestionsOf("N13", Outsider));
        rows.Check("TA1.126", "HA > DR: whose prefix is it, asked between the terminal's IKE_AUTH and the answer", named.Asked is not null && named.Asked.Is("json.value.string", mn.ToString()) && named.End is not null, $"{named}");
        rows.Check("TA1.128", "DR > HA: allocated, with the prefix; then IKE_AUTH is answered", named.Prefix?.Contains(mn) == true && named.End is not null && !named.Refused, $"{named}");
        rows.Check("TA1.128x", "not allocated: AUTHENTICATION_FAILED and no association", nobodys is { Asked: not null, Answer: not null, Prefix: null, Refused: true } && !_tried["N12"].Child, $"{nobodys}");
        var owned = named.Prefix?.Contains(mn) == true && addressed.Prefix?.Contains(app) == true;
        rows.Check("TA1.127", "yes for the certificate's own prefix, no for one that nobody has and for one that is another's", owned && nobodys is { Answer: not null, Prefix: null } && anothers is { Answer: not null, Prefix: null }, $"own: {named}; nobody's: {nobodys}; another's: {anothers}");
        rows.Check("TA-G4", "an allocated prefix of another is refused like one that is not allocated", anothers is { Asked: not null, Answer: not null, Prefix: null, Refused: true } && anothers.Asked.Is("json.value.string", app.ToString()), $"{anothers}");
        rows.Check("TA-C4", "an association only where the delegating router has said that the prefix is allocated", owned && named.End is not null && addressed.End is not null && !named.Refused && !addressed.Refused && nobodys.Refused && anothers.Refused && _tried.Values.All(t => !t.Child), $"{named}; {addressed}; {nobodys}; {anothers}");
        rows.Check("TA-G3", "the owner asked about is the certificate's identifier, whether IDi is that or the home address", owned && named.Asked!.Is("json.value.string", Mn) && addressed.Asked!.Is("json.value.string", Appliance) && addressed.Asked.Is("json.value.string", app.ToString()), $"{named}; {addressed}");

        var (path, signature, revoked) = (QuestionsOf("N14 foreign", Outsider), QuestionsOf("H3", Appliance), QuestionsOf("N15 OCSP", Outsider));
        rows.Check("TA-G19", "first path and signature, then revocation, then allocation: whoever fails at one causes no question of the next",
            path is { Status: null, Asked: null, Refused: true } && signature is { Status: null, Asked: null, Refused: true } && revoked is { Status: not null, Asked: null, Refused: true } && nobodys.Status?.Time < nobodys.Asked?.Time,
            $"path: {path}; signature: {signature}; revoked: {revoked}; not allocated: {nobodys}");
    }
}
