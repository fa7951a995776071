using System.Reflection;
using System.Xml.Linq;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Wire.Tests.Diameter;

[Trait("Row", "M1")]
public class DiameterDictionaryTests
{
    private const string WiresharkFolder = "/usr/share/wireshark/diameter";

    public sealed class WiresharkFactAttribute : FactAttribute
    {
        public WiresharkFactAttribute()
        {
            if (!Directory.Exists(WiresharkFolder))
            {
                Skip = "Wireshark's dictionaries are not installed";
            }
        }
    }

    [Fact]
    public void Every_constant_names_the_attribute_of_the_dictionary()
    {
        var named = typeof(AvpKeys).GetFields(BindingFlags.Public | BindingFlags.Static).Select(f => (f.Name, Key: (AvpKey)f.GetValue(null)!))
            .Concat(typeof(VpnAvpKeys).GetProperties().Where(p => p.PropertyType == typeof(AvpKey)).Select(p => (p.Name, Key: (AvpKey)p.GetValue(VpnAvpKeys.Default)!)))
            .ToList();
        Assert.Equal(DiameterDictionary.Default.Avps.Count, named.Count);
        foreach (var (name, key) in named)
        {
            Assert.True(DiameterDictionary.Default.TryGet(key, out AvpDefinition? definition), name);
            Assert.Equal(definition.Name.Replace("-", "", StringComparison.Ordinal), name, ignoreCase: true);
        }
    }

    [Fact]
    public void Every_enumeration_and_group_belongs_to_its_type()
    {
        foreach (var avp in DiameterDictionary.Default.Avps)
        {
            Assert.Equal(avp.Type == AvpType.Grouped, avp.Members is not null);
            Assert.True(avp.Values is null || avp.Type == AvpType.Enumerated, avp.Name);
        }
    }

    [WiresharkFact]
    public void Codes_types_and_flags_agree_with_wiresharks_dictionary()
    {
        // Where the two differ on purpose: Wireshark keeps the name of a draft.
        var otherName = new Dictionary<string, string> { ["Acct-Multi-Session-Id"] = "Accounting-Multi-Session-Id" };
        var theirs = new[] { "dictionary.xml", "mobileipv4.xml", "nasreq.xml", "sip.xml" }
            .SelectMany(f => Avps(Path.Combine(WiresharkFolder, f)))
            .GroupBy(a => (uint)a.Attribute("code")!)
            .ToDictionary(g => g.Key, g => g.ToList());
        var compared = 0;
        foreach (var avp in DiameterDictionary.Standard.Avps)
        {
            Assert.True(theirs.TryGetValue(avp.Key.Code, out var same), avp.Name);
            var their = same.Find(a => string.Equals((string)a.Attribute("name")!, otherName.GetValueOrDefault(avp.Name, avp.Name), StringComparison.OrdinalIgnoreCase));
            Assert.True(their is not null, $"{avp.Key.Code}: {avp.Name} is {(string)same[0].Attribute("name")!}");
            var type = their.Element("grouped") is not null ? "Grouped" : (string)their.Element("type")!.Attribute("type-name")!;
            // To Wireshark every number with names for its values is an enumeration.
            Assert.True(Normal(type) == avp.Type.ToString().ToLowerInvariant()
                || (Normal(type) is "enumerated" or "unsigned32" or "integer32" && avp.Type is AvpType.Unsigned32 or AvpType.Enumerated), $"{avp.Name}: {avp.Type} is {type}");
            compared++;
        }

        Assert.True(compared > 70, compared.ToString());
    }

    private static IEnumerable<XElement> Avps(string file)
    {
        var settings = new System.Xml.XmlReaderSettings { DtdProcessing = System.Xml.DtdProcessing.Parse, XmlResolver = null };
        var text = System.Text.RegularExpressions.Regex.Replace(File.ReadAllText(file), "(?s)<!DOCTYPE.*?\\]>|<!DOCTYPE[^>]*>|&[a-z0-9]+;", "", System.Text.RegularExpressions.RegexOptions.IgnoreCase);
        using var reader = System.Xml.XmlReader.Create(new StringReader(text), settings);
        return [.. XElement.Load(reader).DescendantsAndSelf("avp").Where(a => a.Attribute("vendor-id") is null)];
    }

    private static string Normal(string type) => type.ToLowerInvariant() switch
    {
        "appid" or "vendorid" => "unsigned32",
        "ipaddress" => "address",
        "diamident" => "diameteridentity",
        "diamuri" => "diameteruri",
        "octetstringorutf8" => "octetstring",
        var other => other,
    };
}
