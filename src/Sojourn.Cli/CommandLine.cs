using System.CommandLine;
using Sojourn.Cli.Verbs;

namespace Sojourn.Cli;

/// <summary>The whole command line. One file per verb in Verbs/; a verb joins the program by standing in this list.</summary>
public static class CommandLine
{
    public static RootCommand Create() => new("Secure paths that are set up by a login and follow the user.")
    {
        RunVerb.Create(),
        CheckVerb.Create(),
        SampleVerb.Create(),
        ProvisioningVerbs.User(),
        ProvisioningVerbs.Profile(),
        ProvisioningVerbs.Gateway(),
        ProvisioningVerbs.Partner(),
        ProvisioningVerbs.WholeDatabase(),
        CaVerbs.Ca(),
        EnrolVerbs.Create(),
        PrefixVerbs.Prefix(),
        AccessVerbs.Password(),
        StatusVerb.Create(),
        ShowVerb.Create(),
        UsageVerbs.Usage(),
        EventsVerb.Create(),
        ExplainVerb.Create(),
        OperateVerbs.Clear(),
        OperateVerbs.Register(),
        OperateVerbs.Terminal(),
        OperateVerbs.Reload(),
        OperateVerbs.Stop(),
        OperateVerbs.OpenApi(),
        LabVerbs.Lab(),
        LabVerbs.Demo(),
    };
}
