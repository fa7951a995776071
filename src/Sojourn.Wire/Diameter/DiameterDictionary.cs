using System.Diagnostics.CodeAnalysis;

namespace Sojourn.Wire.Diameter;

/// <summary>
/// Legality as data: attributes and commands read from the JSON files beside this one. Grammars are written in the
/// notation of RFC 6733 section 3.2. Immutable.
/// </summary>
public sealed class DiameterDictionary
{
    private readonly Dictionary<AvpKey, AvpDefinition> _avps;
    private readonly Dictionary<string, AvpDefinition> _avpsByName;
    private readonly Dictionary<DiameterCommand, CommandDefinition> _commands;
    private readonly HashSet<uint> _applications;

    internal DiameterDictionary(IEnumerable<AvpDefinition> avps, IEnumerable<CommandDefinition> commands, AvpGrammar answerMessage, uint? enterpriseNumber)
    {
        _avps = avps.ToDictionary(a => a.Key);
        _avpsByName = _avps.Values.ToDictionary(a => a.Name, StringComparer.Ordinal);
        _commands = commands.ToDictionary(c => c.Command);
        _applications = [.. _commands.Keys.Select(c => c.ApplicationId)];
        AnswerMessage = answerMessage;
        EnterpriseNumber = enterpriseNumber;
    }

    /// <summary>RFC 6733 and RFC 4004 alone: what a peer without VPN support knows.</summary>
    public static DiameterDictionary Standard { get; } = DictionaryReader.Read(null);

    /// <summary>RFC 6733, RFC 4004 and the VPN attributes under the documentation enterprise number.</summary>
    public static DiameterDictionary Default { get; } = WithVpn(VpnAvpKeys.DefaultEnterpriseNumber);

    public static DiameterDictionary WithVpn(uint enterpriseNumber) => DictionaryReader.Read(enterpriseNumber);

    /// <summary>Null without the VPN attributes.</summary>
    public uint? EnterpriseNumber { get; }

    /// <summary>Grammar of an answer with the E bit (RFC 6733 section 7.2).</summary>
    public AvpGrammar AnswerMessage { get; }

    public IReadOnlyCollection<AvpDefinition> Avps => _avps.Values;

    public IReadOnlyCollection<CommandDefinition> Commands => _commands.Values;

    public bool TryGet(AvpKey key, [NotNullWhen(true)] out AvpDefinition? definition) => _avps.TryGetValue(key, out definition);

    public bool TryGet(string name, [NotNullWhen(true)] out AvpDefinition? definition) => _avpsByName.TryGetValue(name, out definition);

    /// <summary>
    /// Finds a command. The session commands of the base protocol (STR, ASR, RAR, ACR) carry the Application-ID of the
    /// session they speak about (RFC 6733 section 2.4), so they are found under any application that is known here.
    /// </summary>
    public bool TryGet(DiameterCommand command, [NotNullWhen(true)] out CommandDefinition? definition)
    {
        if (_commands.TryGetValue(command, out definition))
        {
            return true;
        }

        return KnowsApplication(command.ApplicationId)
            && ((_commands.TryGetValue(command with { ApplicationId = DiameterApplications.Common }, out definition) && definition.Proxiable)
                || (command.Code == DiameterCommands.Accounting.Code && _commands.TryGetValue(DiameterCommands.Accounting, out definition)));
    }

    public bool KnowsApplication(uint applicationId) => _applications.Contains(applicationId);

    /// <summary>The name of an attribute, or its number when nobody knows it.</summary>
    public string NameOf(AvpKey key) => TryGet(key, out AvpDefinition? definition) ? definition.Name : key.ToString();

    /// <summary>"AMR", "DWA", or the command code.</summary>
    public string NameOf(DiameterMessage message) => TryGet(new DiameterCommand(message.ApplicationId, message.CommandCode), out CommandDefinition? definition)
        ? message.IsRequest ? definition.RequestName : definition.AnswerName
        : message.CommandCode.ToString(System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Begins a request; the identifiers are filled in by whoever sends it.</summary>
    /// <param name="applicationId">For the session commands STR, ASR, RAR, ACR: the application of the session they speak about.</param>
    public DiameterMessageBuilder Request(DiameterCommand command, uint? applicationId = null)
    {
        command = command with { ApplicationId = applicationId ?? command.ApplicationId };
        var proxiable = TryGet(command, out CommandDefinition? definition) && definition.Proxiable;
        return new DiameterMessageBuilder(this, command, proxiable ? DiameterFlags.Request | DiameterFlags.Proxiable : DiameterFlags.Request);
    }

    /// <summary>
    /// Begins the answer: same command, identifiers, P bit and Session-Id, then Result-Code, with the E bit for protocol
    /// errors (RFC 6733 section 6.2). Proxy-Info is copied at the end.
    /// </summary>
    public DiameterMessageBuilder Answer(DiameterMessage request, uint resultCode)
    {
        var flags = request.Flags & DiameterFlags.Proxiable;
        if (DiameterResult.IsProtocolError(resultCode))
        {
            flags |= DiameterFlags.Error;
        }

        var builder = new DiameterMessageBuilder(this, new DiameterCommand(request.ApplicationId, request.CommandCode), flags)
        {
            HopByHopId = request.HopByHopId,
            EndToEndId = request.EndToEndId,
            Tail = request.Avps.Contains(AvpKeys.ProxyInfo) ? [.. request.Avps.All(AvpKeys.ProxyInfo)] : [],
        };
        if (request.Avps.TryGet(AvpKeys.SessionId, out var session))
        {
            builder.Add(session);
        }

        builder.Add(AvpKeys.ResultCode, resultCode);
        return builder;
    }
}
