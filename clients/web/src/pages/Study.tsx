/** A study: its head, its tabs, its filter; and the stream of its events for as long as it is open. */
import { Button, Tabs } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Outlet, useLocation, useNavigate } from "@tanstack/react-router";
import { createContext, useContext } from "react";
import { ApiError, type Study } from "../api/client";
import { useLive } from "../api/live";
import { studyQuery } from "../api/queries";
import { FilterBar } from "../components/FilterBar";
import { Empty, Fault, LinkButton, StateBadge, Waiting } from "../components/parts";
import { useStudyChange } from "../lib/changes";
import { type Filter, readFilter } from "../lib/filter";
import { isCompared, objectives, resource } from "../lib/study";
import { type StudySearch, studyRoute } from "../router";
import { StudyMenu } from "./Studies";

const StudyContext = createContext<Study | null>(null);

/** The study that the page is about. */
export function useStudy(): Study {
  const study = useContext(StudyContext);
  if (!study) throw new Error("outside of a study's page");
  return study;
}

/** The filter in the URL, the rest of the search parameters, and what changes them. */
export function useView(): {
  filter: Filter;
  search: StudySearch;
  setFilter: (filter: Filter) => void;
  set: (change: Partial<StudySearch>) => void;
} {
  const search = studyRoute.useSearch();
  const navigate = useNavigate();
  const go = (next: StudySearch) => void navigate({ to: ".", search: next, replace: true, resetScroll: false });
  return {
    filter: readFilter(search),
    search,
    setFilter: (filter) => {
      const { colour, metric, trial, order } = search;
      go(present({ ...filter, colour, metric, trial, order }));
    },
    set: (change) => go(present({ ...search, ...change })),
  };
}

function present(search: StudySearch): StudySearch {
  return Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined)) as StudySearch;
}

export function StudyPage() {
  const { study: reference } = studyRoute.useParams();
  const query = useQuery(studyQuery(reference));
  useLive(reference, query.data?.id);
  useDocumentTitle(query.data ? `${query.data.name} · Frazil` : "Frazil");
  if (!query.data) {
    const gone = query.error instanceof ApiError && query.error.status === 404;
    if (gone) {
      return (
        <Empty title="This study does not exist">
          It was deleted, or the address is wrong.
          <br />
          <LinkButton to="/" variant="light" mt="sm">
            All studies
          </LinkButton>
        </Empty>
      );
    }
    return query.error ? <Fault error={query.error} retry={() => void query.refetch()} /> : <Waiting what="study" />;
  }
  return (
    <StudyContext.Provider value={query.data}>
      <Head study={query.data} />
      <StudyTabs study={query.data} />
      <FilterBar />
      <Outlet />
    </StudyContext.Provider>
  );
}

function Head({ study }: { study: Study }) {
  const change = useStudyChange(study.id);
  const navigate = useNavigate();
  const word = study.state === "active" ? "Pause" : "Resume";
  const state = study.state === "active" ? "paused" : "active";
  return (
    <div className="head">
      <h1>{study.name}</h1>
      <StateBadge state={study.state} />
      <div className="spring" />
      <LinkButton to="/compare" search={{ studies: [study.id] }} variant="default" size="xs">
        Compare
      </LinkButton>
      <Button size="xs" variant="default" loading={change.isPending} onClick={() => change.mutate({ state })}>
        {word}
      </Button>
      <StudyMenu study={study} onDeleted={() => void navigate({ to: "/" })} />
    </div>
  );
}

type TabPath = "/" | "/belief" | "/parameters" | "/trials" | "/timeline" | "/front" | "/preferences" | "/definition";

function tabsOf(study: Study): [TabPath, string][] {
  const tabs: [TabPath, string][] = [["/", "Overview"]];
  if (resource(study) && !isCompared(study)) tabs.push(["/belief", "Belief"]);
  tabs.push(["/parameters", "Parameters"]);
  if (objectives(study).length > 1) tabs.push(["/front", "Trade-offs"]);
  if (isCompared(study)) tabs.push(["/preferences", "Preferences"]);
  tabs.push(["/trials", "Trials"], ["/timeline", "Timeline"], ["/definition", "Definition"]);
  return tabs;
}

function StudyTabs({ study }: { study: Study }) {
  const navigate = useNavigate();
  const { study: reference } = studyRoute.useParams();
  const { pathname } = useLocation();
  const rest = pathname.replace(/^\/studies\/[^/]+/, "").replace(/\/$/, "");
  const current = tabsOf(study).find(([path]) => path !== "/" && rest.startsWith(path))?.[0] ?? "/";
  return (
    <Tabs
      value={current}
      onChange={(path) =>
        void navigate({
          to: `/studies/$study${path as TabPath}` as "/studies/$study",
          params: { study: reference },
          search: (old) => old,
        })
      }
      mb="sm"
    >
      <Tabs.List style={{ flexWrap: "nowrap", overflowX: "auto" }}>
        {tabsOf(study).map(([path, name]) => (
          <Tabs.Tab key={path} value={path}>
            {name}
          </Tabs.Tab>
        ))}
      </Tabs.List>
    </Tabs>
  );
}
