using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Configuration;

namespace SecureMail.Gateway.Directories;

/// <summary>Which gateway of the directory this one is, and whose signature a directory must bear.</summary>
public sealed record DirectoryOptions
{
    /// <summary>The gateway's name in the directory: its EHLO argument and the origin of its ledger.</summary>
    [RegularExpression("[A-Za-z0-9.-]{1,120}")]
    public required string Name { get; init; }

    /// <summary>A PEM or DER file: the certificate whose key signs the directory, pinned. Null: no directory can be
    /// imported.</summary>
    [ConfigurationKeyName("Directory:Publisher"), DataType("file")]
    public string? Publisher { get; init; }
}
