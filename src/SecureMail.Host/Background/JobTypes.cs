using Hangfire;
using Hangfire.Server;
using SecureMail.Gateway.Jobs;

namespace SecureMail.Host.Background;

/// <summary>
/// The types that a row of Hangfire's may name. A row there names code that a node runs, so everything but the class of
/// jobs and its argument is refused: whoever can write rows can ask for our jobs and for nothing else.
/// </summary>
internal static class JobTypes
{
    /// <summary>Sets the names for the whole process, because Hangfire has one resolver for it.</summary>
    public static void Register() =>
        GlobalConfiguration.Configuration
            .SetDataCompatibilityLevel(CompatibilityLevel.Version_180)
            .UseTypeResolver(Resolve)
            .UseTypeSerializer(NameOf);

    /// <exception cref="TypeLoadException">The name is not one of ours.</exception>
    public static Type Resolve(string name) =>
        name switch
        {
            HangfireQueue.JobsType => typeof(Jobs),
            HangfireQueue.GuidType => typeof(Guid),
            _ => throw new TypeLoadException("A job names a type that is not the class of jobs."),
        };

    /// <summary>Refuses a call that is not one of the methods of the class of jobs. The two names that are resolved
    /// have methods too that no job is: those of Object, and those of Guid.</summary>
    internal sealed class OnlyJobs : IServerFilter
    {
        /// <exception cref="InvalidOperationException">The job fails with it, and nothing of it is run.</exception>
        public void OnPerforming(PerformingContext context)
        {
            if (context.BackgroundJob.Job.Method.DeclaringType != typeof(Jobs))
            {
                throw new InvalidOperationException("A job names a method that is not one of the class of jobs.");
            }
        }

        public void OnPerformed(PerformedContext context) { }
    }

    private static string NameOf(Type type) =>
        type == typeof(Jobs) ? HangfireQueue.JobsType
        : type == typeof(Guid) ? HangfireQueue.GuidType
        : throw new ArgumentException($"{type} is no type of a job.", nameof(type));
}
