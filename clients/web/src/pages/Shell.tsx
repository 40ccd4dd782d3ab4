/** What surrounds every page. */
import { ActionIcon, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { onlineManager } from "@tanstack/react-query";
import { Link, Outlet } from "@tanstack/react-router";
import { useConnection } from "../api/live";
import { Mark, MoonIcon, SunIcon } from "../components/icons";

export function Shell() {
  return (
    <>
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <header className="top">
        <Link to="/" className="brand">
          <Mark />
          Frazil
        </Link>
        <nav aria-label="Main">
          <Link to="/" activeOptions={{ exact: true }}>
            Studies
          </Link>
          <Link to="/compare" search={{ studies: [] }}>
            Compare
          </Link>
          <Link to="/system">System</Link>
          <a href="/docs" className="hide-narrow">
            API
          </a>
        </nav>
        <div className="spring" />
        <SchemeSwitch />
      </header>
      <Offline />
      <main id="content" tabIndex={-1}>
        <Outlet />
      </main>
    </>
  );
}

function SchemeSwitch() {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  const other = scheme === "light" ? "dark" : "light";
  return (
    <ActionIcon
      variant="subtle"
      color="gray"
      size="lg"
      onClick={() => setColorScheme(other)}
      aria-label={`Use ${other} colours`}
    >
      {scheme === "light" ? <MoonIcon /> : <SunIcon />}
    </ActionIcon>
  );
}

function Offline() {
  const connected = useConnection();
  if (connected && onlineManager.isOnline()) return null;
  return (
    <div className="offline" role="status">
      The connection to the server is lost. What you see may be old; it comes back by itself.
    </div>
  );
}
