using Npgsql;

namespace SecureMail.TestKit.Probes;

/// <summary>
/// Finds what the gateway's role writes outside of a named commit. Each row that is written waits for its transaction's
/// end; there the name of the commit must stand in the session (<see cref="StartupHook"/>).
/// </summary>
internal sealed class CommitProbe(ProbeDatabase database)
{
    private const string Setting = "securemail.commit";

    /// <summary>Begins to look; what was written before is let pass.</summary>
    public Task WatchAsync() =>
        database.ExecuteAsync(
            $"""
            CREATE TABLE public.unnamed (written text NOT NULL);
            CREATE FUNCTION public.note_unnamed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN
              IF session_user = 'securemail_gateway' AND coalesce(current_setting('{Setting}', true), '') = '' THEN
                INSERT INTO public.unnamed VALUES (TG_OP || ' ' || TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME);
              END IF;
              RETURN NULL;
            END $$;
            DO $$
            DECLARE t regclass;
            BEGIN
              FOR t IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname IN ('gateway', 'ledger') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
              LOOP
                EXECUTE format('CREATE CONSTRAINT TRIGGER unnamed AFTER INSERT OR UPDATE OR DELETE ON %s '
                  'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.note_unnamed()', t);
              END LOOP;
            END $$;
            """);

    /// <summary>The tables that were written without a name, and how.</summary>
    public Task<List<string>> UnnamedAsync() =>
        database.ListAsync<string>("SELECT DISTINCT written FROM public.unnamed ORDER BY written");

    /// <summary>Says which commit comes next on the connection; empty: none.</summary>
    public static async Task NameAsync(NpgsqlConnection connection, string commit)
    {
        await using var name = new NpgsqlCommand("SELECT set_config($1, $2, false)", connection)
        {
            Parameters = { new() { Value = Setting }, new() { Value = commit } },
        };
        await name.ExecuteNonQueryAsync();
    }
}
