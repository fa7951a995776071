using System.Runtime.InteropServices;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.VirtualMachine;

/// <summary>This very program inside a guest, with the runtime it runs on here.</summary>
public static class GuestProgram
{
    private const string Runtime = "/opt/dotnet", Program = "/opt/sojourn";

    /// <summary>What the runtime and the program look for while they run.</summary>
    private static readonly string[] s_libraries = ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libgcc_s.so.1", "libssl.so.3", "libcrypto.so.3", "libsqlite3.so.0", "libz.so.1"];

    /// <summary>How a script starts it. No files for debuggers, no measuring of what runs often: emulation pays for both.</summary>
    public const string Command = Start + "sojourn.dll";

    private const string Start = $"env DOTNET_EnableDiagnostics=0 DOTNET_TieredPGO=0 {Runtime}/dotnet exec {Program}/";

    /// <summary>The same for another program that lies beside this one.</summary>
    public static string CommandOf(System.Reflection.Assembly assembly) => $"{Start}{assembly.GetName().Name}.dll";

    /// <summary>A file system with it.</summary>
    /// <param name="files">Further files, by their path in the guest.</param>
    /// <exception cref="ScenarioException">This program does not run on an installed runtime.</exception>
    public static Initramfs FileSystem(IReadOnlyDictionary<string, byte[]> files)
    {
        if (LabCommand.Sojourn is not [var host, "exec", var assembly])
        {
            throw new ScenarioException("a virtual machine takes this program together with an installed runtime: start the lab with 'dotnet exec sojourn.dll'");
        }

        // .../shared/Microsoft.NETCore.App/VERSION/
        var framework = new DirectoryInfo(RuntimeEnvironment.GetRuntimeDirectory());
        var root = framework.Parent!.Parent!.Parent!.FullName;
        var all = new Dictionary<string, byte[]>(files) { [$"{Runtime}/dotnet"] = File.ReadAllBytes(Path.Combine(root, "dotnet")) };
        foreach (var part in (string[])[$"host/fxr/{framework.Name}", $"shared/{framework.Parent.Name}/{framework.Name}", $"shared/Microsoft.AspNetCore.App/{framework.Name}"])
        {
            AddFolder(Path.Combine(root, part), $"{Runtime}/{part}");
        }

        AddFolder(Path.GetDirectoryName(assembly)!, Program);
        return new Initramfs { Files = all, Libraries = s_libraries, Programs = ["curl"], Modules = ["dummy", "nf_tables"] };

        void AddFolder(string from, string to)
        {
            foreach (var file in Directory.GetFiles(from).Where(f => Path.GetExtension(f) is ".dll" or ".so" or ".json"))
            {
                all[$"{to}/{Path.GetFileName(file)}"] = File.ReadAllBytes(file);
            }
        }
    }
}
