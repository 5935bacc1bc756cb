using SecureMail.Ledger;

namespace SecureMail.TestKit;

/// <summary>Who acts in tests.</summary>
public static class TestActor
{
    public static Authority VanThu { get; } = new(Guid.Parse("6f0c1d8e-3b52-4a77-9c0e-2d1a5b7e9f04"));
}
