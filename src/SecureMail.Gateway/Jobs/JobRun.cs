namespace SecureMail.Gateway.Jobs;

/// <summary>One run of a job on this node, with the progress that the next renewal of the lease writes down.</summary>
internal sealed class JobRun(JobRow job, string owner) : IProgress<long>
{
    private long _done;

    public Guid Id => job.Id;

    public string Kind => job.Kind;

    public string? Argument => job.Argument;

    /// <summary>This one included.</summary>
    public int Runs => job.Runs;

    public string Owner => owner;

    /// <summary>The node's name.</summary>
    public string Node => owner.Split(':')[0];

    public long Done => Volatile.Read(ref _done);

    public long? Total { get; set; }

    public void Report(long value) => Volatile.Write(ref _done, value);
}
