/// <summary>
/// Writes down which assemblies the program had loaded when it ended. The runtime calls <see cref="Initialize"/> before
/// <c>Main</c>, because <c>DOTNET_STARTUP_HOOKS</c> names this assembly. The name of the class, its place outside of any
/// namespace and the method are the runtime's contract.
/// </summary>
internal static class StartupHook
{
    /// <summary>The environment variable that names the file to write.</summary>
    public const string Variable = "SECUREMAIL_TEST_ASSEMBLIES";

    public static void Initialize()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { } file)
        {
            AppDomain.CurrentDomain.ProcessExit += (_, _) =>
                File.WriteAllLines(file, AppDomain.CurrentDomain.GetAssemblies().Select(a => a.GetName().Name ?? ""));
        }
    }
}
