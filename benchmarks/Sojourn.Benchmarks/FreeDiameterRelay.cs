using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine.Diameter;
using Sojourn.Lab.Nodes;
using Sojourn.Roles.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Benchmarks;

/// <summary>
/// How many requests a freeDiameter relay carries per second, without TLS, between a client that keeps a window of them
/// open and a server that answers at once. Both are made of prepared octets, so that the relay is the limit and not they.
/// </summary>
internal sealed class FreeDiameterRelay(NetworkNamespace space, string folder)
{
    public const string Daemon = "/usr/bin/freeDiameterd", AccessList = "/usr/lib/freeDiameter/acl_wl.fdx";
    private const int RelayPort = 3868, ServerPort = 3870;
    private const string Client = "client.visited.example", Relay = "relay.visited.example", Server = "server.home.example";

    public static bool IsInstalled => File.Exists(Daemon) && File.Exists(AccessList);

    /// <summary>Requests answered per second over <paramref name="time"/>, after a second of warming up.</summary>
    public double Measure(int window, TimeSpan time)
    {
        Directory.CreateDirectory(folder);
        using var authority = new LabCertificateAuthority("relay", TimeSpan.FromDays(1));
        authority.WriteAuthority(folder);
        authority.Write(folder, "relay", Relay);
        File.WriteAllText(Path.Combine(folder, "accepted.conf"), $"ALLOW_IPSEC {Client}\n");
        var file = Path.Combine(folder, "relay.conf");
        File.WriteAllText(file, $$"""
            Identity = "{{Relay}}";
            Realm = "visited.example";
            Port = {{RelayPort}};
            SecPort = 0;
            No_SCTP;
            No_IPv6;
            ListenOn = "{{BenchmarkNetwork.Relay}}";
            TLS_Cred = "{{folder}}/relay.crt", "{{folder}}/relay.key";
            TLS_CA = "{{folder}}/ca.crt";
            TcTimer = 1;
            LoadExtension = "{{AccessList}}" : "{{folder}}/accepted.conf";
            ConnectPeer = "{{Server}}" { No_TLS; ConnectTo = "{{BenchmarkNetwork.Relay}}"; Port = {{ServerPort}}; No_IPv6; };

            """);
        using var listener = space.Run(() =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(new IPEndPoint(BenchmarkNetwork.Relay, ServerPort));
            socket.Listen();
            return socket;
        });
        var opened = new ManualResetEventSlim();
        var server = new Thread(() => Serve(listener, opened)) { IsBackground = true, Name = "relay server" };
        server.Start();
        using var process = LabCommand.Start(LabCommand.Inside(space.Name, [Daemon, "-c", file]), redirect: true);
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        try
        {
            if (!opened.Wait(TimeSpan.FromSeconds(60)))
            {
                throw new InvalidOperationException("freeDiameter does not connect to the server");
            }

            using var client = space.Run(() => Dial());
            return Drive(client, window, time);
        }
        finally
        {
            process.Kill();
            process.WaitForExit();
        }
    }

    private static Socket Dial()
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                socket.Connect(BenchmarkNetwork.Relay, RelayPort);
                return socket;
            }
            catch (SocketException) when (watch.Elapsed < TimeSpan.FromSeconds(30))
            {
                socket.Dispose();
                Thread.Sleep(100);
            }
        }
    }

    private static double Drive(Socket socket, int window, TimeSpan time)
    {
        socket.Send(Capabilities(DiameterDictionary.Default.Request(DiameterCommands.CapabilitiesExchange), Client).Build().ToArray());
        var reader = new MessageReader(socket);
        if (!DiameterMessage.TryParse(reader.Next().ToArray(), DiameterLimits.Default, out var cea, out Sojourn.Wire.WireError _) || cea.ResultCode != DiameterResult.Success)
        {
            throw new InvalidOperationException($"freeDiameter refuses the client: {cea?.ResultCode}");
        }

        var request = Request();
        var writer = new MessageWriter(socket);
        uint sent = 0;
        for (; sent < window; sent++)
        {
            Number(request, sent);
            writer.Add(request);
        }

        writer.Flush();
        long answers = 0;
        var watch = Stopwatch.StartNew();
        var warm = TimeSpan.FromSeconds(1);
        var counted = TimeSpan.Zero;
        while (watch.Elapsed < warm + time)
        {
            var message = reader.Next();
            if ((message[4] & (byte)DiameterFlags.Request) != 0)
            {
                writer.Add(Watchdog(message, Client));
            }
            else if ((message[4] & (byte)DiameterFlags.Error) != 0)
            {
                throw new InvalidOperationException("freeDiameter does not relay the requests");
            }
            else
            {
                answers++;
                Number(request, sent++);
                writer.Add(request);
            }

            if (!reader.HasMore)
            {
                writer.Flush();
                if (counted == TimeSpan.Zero && watch.Elapsed >= warm)
                {
                    counted = watch.Elapsed;
                    answers = 0;
                }
            }
        }

        return answers / (watch.Elapsed - counted).TotalSeconds;
    }

    private static void Serve(Socket listener, ManualResetEventSlim opened)
    {
        try
        {
            using var socket = listener.Accept();
            socket.NoDelay = true;
            var reader = new MessageReader(socket);
            var writer = new MessageWriter(socket);
            byte[]? answer = null;
            while (true)
            {
                var message = reader.Next();
                var command = BinaryPrimitives.ReadUInt32BigEndian(message[4..]) & 0xFFFFFF;
                if (command == DiameterCommands.AaMobileNode.Code)
                {
                    DiameterMessage.TryParse(answer is null ? message.ToArray() : ReadOnlyMemory<byte>.Empty, DiameterLimits.Default, out var request, out Sojourn.Wire.WireError _);
                    answer ??= DiameterDictionary.Default.Answer(request!, DiameterResult.Success)
                        .Add(AvpKeys.SessionId, request!.SessionId!).Add(AvpKeys.OriginHost, Server).Add(AvpKeys.OriginRealm, "home.example")
                        .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4).Build().ToArray();
                    message.Slice(12, 8).CopyTo(answer.AsSpan(12));
                    writer.Add(answer);
                }
                else if (DiameterMessage.TryParse(message.ToArray(), DiameterLimits.Default, out var request, out Sojourn.Wire.WireError _) && request.IsRequest)
                {
                    var capabilities = command == DiameterCommands.CapabilitiesExchange.Code;
                    var builder = DiameterDictionary.Default.Answer(request, DiameterResult.Success);
                    writer.Add((capabilities ? Capabilities(builder, Server) : builder.Add(AvpKeys.OriginHost, Server).Add(AvpKeys.OriginRealm, "home.example")).Build().ToArray());
                    if (capabilities)
                    {
                        opened.Set();
                    }
                }

                if (!reader.HasMore)
                {
                    writer.Flush();
                }
            }
        }
        catch (Exception e) when (e is SocketException or EndOfStreamException or ObjectDisposedException)
        {
            // The relay is gone, and with it the measurement.
        }
    }

    private static byte[] Watchdog(ReadOnlySpan<byte> message, string identity) =>
        DiameterMessage.TryParse(message.ToArray(), DiameterLimits.Default, out var request, out Sojourn.Wire.WireError _)
            ? DiameterDictionary.Default.Answer(request, DiameterResult.Success).Add(AvpKeys.OriginHost, identity).Add(AvpKeys.OriginRealm, "visited.example").Build().ToArray()
            : [];

    private static DiameterMessageBuilder Capabilities(DiameterMessageBuilder builder, string identity) => builder
        .Add(AvpKeys.OriginHost, identity)
        .Add(AvpKeys.OriginRealm, identity[(identity.IndexOf('.', StringComparison.Ordinal) + 1)..])
        .Add(AvpKeys.HostIpAddress, BenchmarkNetwork.Relay)
        .Add(AvpKeys.VendorId, 0)
        .Add(AvpKeys.ProductName, "benchmark")
        .Add(AvpKeys.InbandSecurityId, 0)
        .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4);

    /// <summary>An AMR of the size a foreign agent's has.</summary>
    private static byte[] Request() => DiameterDictionary.Default.Request(DiameterCommands.AaMobileNode)
        .Add(AvpKeys.SessionId, $"{Client};1;1")
        .Add(AvpKeys.OriginHost, Client)
        .Add(AvpKeys.OriginRealm, "visited.example")
        .Add(AvpKeys.DestinationRealm, "home.example")
        .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
        .Add(AvpKeys.UserName, "user1@home.example")
        .Add(AvpKeys.MipRegRequest, new byte[160])
        .AddGroup(AvpKeys.MipMnAaaAuth, g => g
            .Add(AvpKeys.MipMnAaaSpi, 0x200)
            .Add(AvpKeys.MipAuthInputDataLength, 44)
            .Add(AvpKeys.MipAuthenticatorLength, 32)
            .Add(AvpKeys.MipAuthenticatorOffset, 50))
        .Add(AvpKeys.MipMobileNodeAddress, IPAddress.Parse("10.99.0.10"))
        .Add(AvpKeys.MipFeatureVector, 112)
        .Build().ToArray();

    private static void Number(byte[] request, uint number)
    {
        BinaryPrimitives.WriteUInt32BigEndian(request.AsSpan(12), number);
        BinaryPrimitives.WriteUInt32BigEndian(request.AsSpan(16), number);
    }

    /// <summary>Whole Diameter messages from a stream.</summary>
    private sealed class MessageReader(Socket socket)
    {
        private readonly byte[] _buffer = new byte[256 * 1024];
        private int _start;
        private int _end;

        public bool HasMore => _end - _start >= 4 && _end - _start >= Length;

        private int Length => (int)(BinaryPrimitives.ReadUInt32BigEndian(_buffer.AsSpan(_start)) & 0xFFFFFF);

        /// <summary>Valid until the next call.</summary>
        public ReadOnlySpan<byte> Next()
        {
            while (!HasMore)
            {
                if (_start > 0)
                {
                    _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
                    (_start, _end) = (0, _end - _start);
                }

                var read = socket.Receive(_buffer.AsSpan(_end));
                _end += read > 0 ? read : throw new EndOfStreamException();
            }

            var message = _buffer.AsSpan(_start, Length);
            _start += message.Length;
            return message;
        }
    }

    private sealed class MessageWriter(Socket socket)
    {
        private readonly byte[] _buffer = new byte[256 * 1024];
        private int _end;

        public void Add(ReadOnlySpan<byte> message)
        {
            if (_end + message.Length > _buffer.Length)
            {
                Flush();
            }

            message.CopyTo(_buffer.AsSpan(_end));
            _end += message.Length;
        }

        public void Flush()
        {
            for (var sent = 0; sent < _end;)
            {
                sent += socket.Send(_buffer.AsSpan(sent, _end - sent));
            }

            _end = 0;
        }
    }
}
