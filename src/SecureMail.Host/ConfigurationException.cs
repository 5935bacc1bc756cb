namespace SecureMail.Host;

/// <summary>The configuration cannot be used.</summary>
/// <param name="opens">False when the file cannot be opened at all.</param>
internal sealed class ConfigurationException(string message, bool opens = true) : Exception(message)
{
    public bool Opens => opens;
}
