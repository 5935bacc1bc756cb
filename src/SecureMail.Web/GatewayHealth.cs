namespace SecureMail.Web;

/// <summary>The answer of <c>/health/ready</c>.</summary>
/// <param name="Problems">Names of what stands in the way; empty when ready.</param>
public sealed record GatewayHealth(bool Ready, IReadOnlyList<string> Problems);
