#!/usr/bin/env escript
%% -*- erlang -*-
%%! -noshell
%% A third-party Diameter node for the interoperability tests, made of Erlang/OTP's diameter application and the
%% RFC 4004 dictionary of its examples. It prints what it decodes, one line per AVP:
%%     AVP <message> <attribute> <value as Erlang term>
%%
%%   diameter_peer.escript server PORT IDENTITY REALM CREDENTIALS DICTIONARY
%%       listens with TLS and answers AMR with AMA and HAR with HAA.
%%   diameter_peer.escript client PORT IDENTITY REALM CREDENTIALS DICTIONARY PEER PEER-REALM
%%       dials PEER with TLS, sends one AMR and one HAR, prints the answers and ends.
%%
%% CREDENTIALS is a folder with ca.crt, NAME.crt and NAME.key, NAME being the first label of IDENTITY. DICTIONARY is the
%% path of rfc4004_mip.dia.
-mode(compile).
-export([callback/2]).

%% As in diameter/include/diameter.hrl, which Debian puts into another package.
-record(diameter_event, {service, info}).
-record(diameter_packet, {header, avps, msg, bin, errors = [], transport_data}).
-record(diameter_caps, {origin_host, origin_realm, host_ip_address, vendor_id, product_name, origin_state_id,
                        supported_vendor_id, auth_application_id, inband_security_id, acct_application_id,
                        vendor_specific_application_id, firmware_revision, avp}).

-define(MIP, rfc4004_mip).

main(["server", Port, Identity, Realm, Credentials, Dictionary]) ->
    start(Identity, Realm, Dictionary),
    {ok, _} = diameter:add_transport(peer, {listen, transport(Port, tls(Credentials, Identity, [{fail_if_no_peer_cert, true}]))}),
    io:format("READY~n"),
    timer:sleep(infinity);
main(["client", Port, Identity, Realm, Credentials, Dictionary, Peer, PeerRealm]) ->
    start(Identity, Realm, Dictionary),
    true = diameter:subscribe(peer),
    Tls = tls(Credentials, Identity, [{server_name_indication, Peer}]),
    {ok, _} = diameter:add_transport(peer, {connect, [{connect_timer, 1000} | transport(Port, Tls)]}),
    receive
        #diameter_event{info = Info} when element(1, Info) == up -> io:format("UP~n")
    after 20000 -> io:format("NOT UP~n"), halt(1)
    end,
    call('AMR', amr(Realm, PeerRealm)),
    call('HAR', har(Realm, PeerRealm)),
    diameter:stop_service(peer),
    io:format("DONE~n"),
    halt(0).

start(Identity, Realm, Dictionary) ->
    {ok, _} = application:ensure_all_started(ssl),
    {ok, _} = application:ensure_all_started(diameter),
    load_dictionary(Dictionary),
    ok = load_callbacks(),
    ok = diameter:start_service(peer, [
        {'Origin-Host', Identity},
        {'Origin-Realm', Realm},
        {'Vendor-Id', 193},
        {'Product-Name', "erlang"},
        {'Host-IP-Address', [{127, 0, 0, 1}]},
        {'Auth-Application-Id', [2]},
        {decode_format, map},
        {string_decode, false},
        {strict_mbit, true},
        {application, [{alias, mip}, {dictionary, ?MIP}, {module, mip_callbacks}, {answer_errors, callback}]}]).

%% The dictionary is source text; OTP's own generator turns it into a codec module.
load_dictionary(File) ->
    {ok, [Forms]} = diameter_make:codec(File, [forms, return, {name, atom_to_list(?MIP)}, {prefix, "mip"},
                                               {inherits, "common/diameter_gen_base_rfc6733"}]),
    {ok, ?MIP, Code} = compile:forms(Forms, [return_errors]),
    {module, ?MIP} = code:load_binary(?MIP, "rfc4004_mip.erl", Code).

%% diameter wants its callbacks in a module; this script is none that can be named, so a small one hands over to it.
load_callbacks() ->
    Functions = [{peer_up, 3}, {peer_down, 3}, {pick_peer, 4}, {prepare_request, 3}, {prepare_retransmit, 3},
                 {handle_answer, 4}, {handle_error, 4}, {handle_request, 3}],
    Self = ?MODULE,
    Forms = [{attribute, 1, module, mip_callbacks}, {attribute, 1, export, Functions}
             | [forward(Self, Name, Arity) || {Name, Arity} <- Functions]],
    {ok, mip_callbacks, Code} = compile:forms(Forms),
    {module, mip_callbacks} = code:load_binary(mip_callbacks, "mip_callbacks.erl", Code),
    ok.

forward(Module, Name, Arity) ->
    Arguments = [{var, 1, list_to_atom("A" ++ integer_to_list(I))} || I <- lists:seq(1, Arity)],
    {function, 1, Name, Arity, [{clause, 1, Arguments, [],
        [{call, 1, {remote, 1, {atom, 1, Module}, {atom, 1, callback}}, [{atom, 1, Name}, list(Arguments)]}]}]}.

list([]) -> {nil, 1};
list([H | T]) -> {cons, 1, H, list(T)}.

%% ssl_options true: TLS before the capabilities exchange; the options of ssl stand beside it.
transport(Port, Tls) ->
    Config = case Tls of
        {connect, Options} -> [{raddr, {127, 0, 0, 1}}, {rport, list_to_integer(Port)}, {ssl_options, true} | Options];
        {listen, Options} -> [{ip, {127, 0, 0, 1}}, {port, list_to_integer(Port)}, {reuseaddr, true}, {ssl_options, true} | Options]
    end,
    [{transport_module, diameter_tcp}, {transport_config, Config}].

tls(Credentials, Identity, More) ->
    [Name | _] = string:split(Identity, "."),
    File = fun(N) -> filename:join(Credentials, N) end,
    Options = [{certfile, File(Name ++ ".crt")}, {keyfile, File(Name ++ ".key")}, {cacertfile, File("ca.crt")},
               {verify, verify_peer}, {versions, ['tlsv1.3']} | More],
    {case lists:keymember(server_name_indication, 1, More) of true -> connect; false -> listen end, Options}.

call(Name, Avps) ->
    case diameter:call(peer, mip, [Name | Avps], [{timeout, 10000}]) of
        [Answer | Map] when is_map(Map) -> print(Answer, Map);
        Other -> io:format("FAILED ~p ~0p~n", [Name, Other]), halt(2)
    end.

amr(Realm, PeerRealm) ->
    #{'Session-Id' => diameter:session_id("erlang." ++ Realm),
      'Auth-Application-Id' => 2,
      'User-Name' => "carol@home.example",
      'Destination-Realm' => PeerRealm,
      'MIP-Reg-Request' => <<1, 2, 3, 4, 5, 6, 7>>,
      'MIP-MN-AAA-Auth' => #{'MIP-MN-AAA-SPI' => 512, 'MIP-Auth-Input-Data-Length' => 44,
                             'MIP-Authenticator-Length' => 32, 'MIP-Authenticator-Offset' => 50},
      'MIP-Mobile-Node-Address' => [{10, 99, 0, 77}],
      'MIP-Feature-Vector' => [80]}.

har(Realm, PeerRealm) ->
    #{'Session-Id' => diameter:session_id("erlang." ++ Realm),
      'Auth-Application-Id' => 2,
      'Authorization-Lifetime' => 600,
      'Auth-Session-State' => 0,
      'MIP-Reg-Request' => <<1, 2, 3>>,
      'User-Name' => "carol@home.example",
      'Destination-Realm' => PeerRealm,
      'MIP-Feature-Vector' => 80,
      'MIP-HA-to-FA-MSA' => [#{'MIP-HA-to-FA-SPI' => 4660, 'MIP-Algorithm-Type' => 2, 'MIP-Session-Key' => <<7:128>>}],
      'MIP-MSA-Lifetime' => [600]}.

callback(peer_up, [_Service, _Peer, State]) -> State;
callback(peer_down, [_Service, _Peer, State]) -> State;
callback(pick_peer, [[Peer | _], _, _Service, _State]) -> {ok, Peer};
callback(prepare_request, [#diameter_packet{msg = [Name | Avps]}, _Service, {_, Caps}]) ->
    {send, [Name | maps:merge(origin(Caps), Avps)]};
callback(prepare_retransmit, [Packet, _Service, _Peer]) -> {send, Packet};
callback(handle_answer, [#diameter_packet{msg = Message, errors = Errors}, _Request, _Service, _Peer]) ->
    io:format("ERRORS ~0p~n", [Errors]),
    Message;
callback(handle_error, [Reason, _Request, _Service, _Peer]) -> {error, Reason};
callback(handle_request, [#diameter_packet{msg = ['AMR' | Avps], errors = []}, _Service, {_, Caps}]) ->
    print('AMR', Avps),
    {reply, ['AMA' | maps:merge(answer(Avps, Caps), #{
        'Result-Code' => 2001,
        'User-Name' => [maps:get('User-Name', Avps)],
        'Authorization-Lifetime' => [1800],
        'Auth-Session-State' => [0],
        'MIP-Reg-Reply' => [<<3, 0, 7, 8>>],
        'MIP-FA-to-MN-MSA' => [#{'MIP-FA-to-MN-SPI' => 4097, 'MIP-Algorithm-Type' => 2, 'MIP-Session-Key' => <<5:256>>}],
        'MIP-MSA-Lifetime' => [1800],
        'MIP-Home-Agent-Address' => [{10, 0, 3, 2}],
        'MIP-Mobile-Node-Address' => [{10, 99, 0, 10}]})]};
callback(handle_request, [#diameter_packet{msg = ['HAR' | Avps], errors = []}, _Service, {_, Caps}]) ->
    print('HAR', Avps),
    {reply, ['HAA' | maps:merge(answer(Avps, Caps), #{
        'Result-Code' => 2001,
        'MIP-Reg-Reply' => [<<3, 1>>],
        'MIP-FA-to-HA-SPI' => [8193],
        'MIP-Home-Agent-Address' => [{10, 0, 3, 2}]})]};
callback(handle_request, [#diameter_packet{msg = [Name | Avps], errors = Errors}, _Service, {_, Caps}]) ->
    %% diameter adds Result-Code and Failed-AVP from the errors it found.
    io:format("ERRORS ~0p~n", [Errors]),
    Answer = case Name of 'AMR' -> 'AMA'; 'HAR' -> 'HAA' end,
    {reply, [Answer | answer(Avps, Caps)]}.

origin(#diameter_caps{origin_host = {Host, _}, origin_realm = {Realm, _}}) ->
    #{'Origin-Host' => Host, 'Origin-Realm' => Realm}.

answer(Avps, Caps) ->
    maps:merge(origin(Caps), #{'Session-Id' => maps:get('Session-Id', Avps, <<>>), 'Auth-Application-Id' => 2}).

print(Name, Avps) ->
    maps:foreach(fun(Attribute, Value) -> io:format("AVP ~s ~s ~0p~n", [Name, Attribute, Value]) end, Avps),
    io:format("END ~s~n", [Name]).
