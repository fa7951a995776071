using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Tests.CertificateAuthority;
using Sojourn.VirtualInternet.Net;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>A request has come to the authority.</summary>
internal sealed record AuthorityAsked(long Number, string Kind, object Body) : EngineInput;

/// <summary>Its answer, which may leave when the changes are committed.</summary>
internal sealed record AuthorityAnswers(long Number, object Answer) : Effect;

/// <summary>A receiver has taken a withdrawal.</summary>
internal sealed record WithdrawalTaken(string Receiver, int Number) : EngineInput;

/// <summary>Tells a receiver of a withdrawal (Q3).</summary>
internal sealed record TellWithdrawal(string Receiver, int Number, AnnounceWithdrawal Withdrawal) : Effect;

internal sealed record WithdrawalTold(string Receiver, int Number) : AuthorityChange;

/// <summary>
/// The certification authority's node: it answers CMP, OCSP and Q1, revokes what is not confirmed, and tells of withdrawals in order until they
/// are taken. Its database is the disk; key, table of certificates, transactions and what was told survive.
/// </summary>
internal sealed class AuthorityMachine(TerminalNetwork network, AuthorityOptions options) : Machine(network, "ca")
{
    public const string Cmp = "CMP", Status = "OCSP", MayDelegate = "Q1", Withdrawal = "Q3 withdrawal";

    private static readonly TimeSpan s_tellLimit = TimeSpan.FromSeconds(5);

    private readonly Dictionary<string, int> _told = [];
    private readonly Dictionary<long, Question> _waiting = [];
    private (byte[] Certificate, KeyMaterial Key)? _key;
    private long _number;

    public MemoryStore Store { get; } = new();

    /// <summary>Who is told of withdrawals.</summary>
    public List<string> Receivers { get; } = [];

    public byte[] Certificate => Key.Certificate;

    private (byte[] Certificate, KeyMaterial Key) Key =>
        _key ??= EcdsaSigner.Create("CN=Home CA", strong: false, Now - TimeSpan.FromDays(1), Now + TimeSpan.FromDays(3650), Network.Simulation.SourceFor("ca key", 0));

    public override IEngine Build(IRandomSource random) => new AuthorityEngine(NewAuthority(options, random), this);

    /// <summary>The authority's decisions without its node, for what is set up before the run.</summary>
    public CertificationAuthority NewAuthority(AuthorityOptions profile, IRandomSource random) => new(new EcdsaSigner(Key.Certificate, Key.Key), profile, random);

    /// <summary>An operator shuts a terminal out, in the database, whether the node runs or not: its certificates are revoked, and it gets no other.</summary>
    public void Revoke(string identifier)
    {
        Store.Entries[identifier] = Store.Entries[identifier] with { Eligible = false };
        var sink = new EffectSink();
        foreach (var certificate in Store.Certificates.Values.Where(c => c.Identifier == identifier && c.Status == CertificateStatus.Good).ToList())
        {
            CertificationAuthority.Withdraw(certificate, RevocationReason.KeyCompromise, "operator", Store, Now, sink);
        }

        Store.Apply(sink.Effects);
        Network.Trace.Note(Now, $"{this,6}  ·  an operator shuts {identifier} out");
    }

    /// <summary>An operator lets a terminal enrol once more.</summary>
    public void Admit(string identifier) => Store.Secrets[identifier] = Store.Secrets[identifier] with { UsedAt = null };

    public override void Keep(Effect change)
    {
        if (change is WithdrawalTold told)
        {
            _told[told.Receiver] = told.Number;
        }
        else if (change is AuthorityChange)
        {
            Store.Apply([change]);
        }
        else
        {
            base.Keep(change);
        }
    }

    public override void PowerOff() => _waiting.Clear();

    public override void Serve(Question question)
    {
        _waiting[++_number] = question;
        Network.Input(this, new AuthorityAsked(_number, question.Kind, question.Body));
    }

    public override bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case AuthorityAnswers answer:
                if (_waiting.Remove(answer.Number, out var question))
                {
                    question.Answer(answer.Answer);
                }

                return true;
            case TellWithdrawal tell:
                Network.Ask(this, Network[tell.Receiver], Withdrawal, tell.Withdrawal, s_tellLimit, taken =>
                {
                    if (taken is not null)
                    {
                        Network.Input(this, new WithdrawalTaken(tell.Receiver, tell.Number));
                    }
                });
                return true;
            default:
                return false;
        }
    }

    private sealed class AuthorityEngine(CertificationAuthority authority, AuthorityMachine machine) : IEngine
    {
        private static readonly TimeSpan s_upkeep = TimeSpan.FromSeconds(1);

        private readonly Dictionary<string, DateTimeOffset> _again = [];

        public DateTimeOffset? NextDeadline { get; private set; }

        public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
        {
            switch (input)
            {
                case EngineStarted:
                    NextDeadline = now + s_upkeep;
                    break;
                case AuthorityAsked asked:
                    var answer = asked.Kind switch
                    {
                        Cmp => authority.Answer((ReadOnlyMemory<byte>)asked.Body, "a terminal", machine.Store, now, effects),
                        Status => authority.Status((ReadOnlyMemory<byte>)asked.Body, machine.Store, now, effects),
                        _ => (object)Permission.Of((string)asked.Body, machine.Store, now),
                    };
                    effects.Emit(new AuthorityAnswers(asked.Number, answer));
                    break;
                case WithdrawalTaken taken when machine._told.GetValueOrDefault(taken.Receiver) == taken.Number - 1:
                    effects.Emit(new WithdrawalTold(taken.Receiver, taken.Number));
                    _again.Remove(taken.Receiver);
                    break;
                case DeadlineReached:
                    NextDeadline = now + s_upkeep;
                    CertificationAuthority.RevokeOverdue(machine.Store, now, effects);
                    foreach (var receiver in machine.Receivers)
                    {
                        var told = machine._told.GetValueOrDefault(receiver);
                        if (told < machine.Store.Withdrawals.Count && !(_again.GetValueOrDefault(receiver) > now))
                        {
                            _again[receiver] = now + s_tellLimit;
                            effects.Emit(new TellWithdrawal(receiver, told + 1, machine.Store.Withdrawals[told]));
                        }
                    }

                    break;
            }
        }
    }
}
