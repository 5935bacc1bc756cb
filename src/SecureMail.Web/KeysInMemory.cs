using System.Xml.Linq;
using Microsoft.AspNetCore.DataProtection.Repositories;

namespace SecureMail.Web;

/// <summary>
/// Keeps the keys of ASP.NET's data protection while the process lives. The pages have neither forms nor sign-in, so
/// nothing is protected by these keys, and by default they would be written to the home folder in the clear.
/// </summary>
internal sealed class KeysInMemory : IXmlRepository
{
    private readonly List<XElement> _keys = [];

    public IReadOnlyCollection<XElement> GetAllElements()
    {
        lock (_keys)
        {
            return [.. _keys.Select(k => new XElement(k))];
        }
    }

    public void StoreElement(XElement element, string friendlyName)
    {
        lock (_keys)
        {
            _keys.Add(new XElement(element));
        }
    }
}
