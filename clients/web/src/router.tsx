/** The pages and their addresses. A page that draws is loaded when it is first opened. */
import type { QueryClient } from "@tanstack/react-query";
import { createRootRouteWithContext, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { Empty, Fault } from "./components/parts";
import { type Filter, readFilter } from "./lib/filter";
import { Shell } from "./pages/Shell";
import { StudiesPage } from "./pages/Studies";

const root = createRootRouteWithContext<{ client: QueryClient }>()({
  component: Shell,
  notFoundComponent: () => <Empty title="There is no such page">The address leads nowhere.</Empty>,
  errorComponent: ({ error, reset }) => <Fault error={error} retry={reset} />,
});

const studies = createRoute({ getParentRoute: () => root, path: "/", component: StudiesPage });

/** A study to start from; everything else comes from the form. */
const newStudy = createRoute({
  getParentRoute: () => root,
  path: "/new",
  validateSearch: (search): { like?: string } => (typeof search.like === "string" ? { like: search.like } : {}),
  component: lazyRouteComponent(() => import("./pages/NewStudy"), "NewStudyPage"),
});

export type StudySearch = Filter & { colour?: string; metric?: string; trial?: number; order?: string };

export const studyRoute = createRoute({
  getParentRoute: () => root,
  path: "/studies/$study",
  validateSearch: (search): StudySearch => ({
    ...readFilter(search),
    ...(typeof search.colour === "string" ? { colour: search.colour } : {}),
    ...(typeof search.metric === "string" ? { metric: search.metric } : {}),
    ...(typeof search.trial === "number" && search.trial >= 0 ? { trial: Math.floor(search.trial) } : {}),
    ...(typeof search.order === "string" ? { order: search.order } : {}),
  }),
  component: lazyRouteComponent(() => import("./pages/Study"), "StudyPage"),
});

const overview = createRoute({
  getParentRoute: () => studyRoute,
  path: "/",
  component: lazyRouteComponent(() => import("./pages/Overview"), "OverviewTab"),
});
const belief = createRoute({
  getParentRoute: () => studyRoute,
  path: "/belief",
  component: lazyRouteComponent(() => import("./pages/Belief"), "BeliefTab"),
});
const parameters = createRoute({
  getParentRoute: () => studyRoute,
  path: "/parameters",
  component: lazyRouteComponent(() => import("./pages/Parameters"), "ParametersTab"),
});
const trials = createRoute({
  getParentRoute: () => studyRoute,
  path: "/trials",
  component: lazyRouteComponent(() => import("./pages/Trials"), "TrialsTab"),
});
export const trialRoute = createRoute({
  getParentRoute: () => studyRoute,
  path: "/trials/$number",
  component: lazyRouteComponent(() => import("./pages/Trial"), "TrialTab"),
});
const timeline = createRoute({
  getParentRoute: () => studyRoute,
  path: "/timeline",
  component: lazyRouteComponent(() => import("./pages/Timeline"), "TimelineTab"),
});
const front = createRoute({
  getParentRoute: () => studyRoute,
  path: "/front",
  component: lazyRouteComponent(() => import("./pages/Front"), "FrontTab"),
});
const preferences = createRoute({
  getParentRoute: () => studyRoute,
  path: "/preferences",
  component: lazyRouteComponent(() => import("./pages/Preferences"), "PreferencesTab"),
});
const about = createRoute({
  getParentRoute: () => studyRoute,
  path: "/definition",
  component: lazyRouteComponent(() => import("./pages/Definition"), "DefinitionTab"),
});

export const compareRoute = createRoute({
  getParentRoute: () => root,
  path: "/compare",
  validateSearch: (search): { studies: string[] } => ({
    studies: (Array.isArray(search.studies) ? search.studies : []).filter((id): id is string => typeof id === "string"),
  }),
  component: lazyRouteComponent(() => import("./pages/Compare"), "ComparePage"),
});

const system = createRoute({
  getParentRoute: () => root,
  path: "/system",
  component: lazyRouteComponent(() => import("./pages/System"), "SystemPage"),
});

const tree = root.addChildren([
  studies,
  newStudy,
  studyRoute.addChildren([overview, belief, parameters, trials, trialRoute, timeline, front, preferences, about]),
  compareRoute,
  system,
]);

export function createAppRouter(client: QueryClient) {
  return createRouter({ routeTree: tree, context: { client }, defaultPreload: "intent", scrollRestoration: true });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof createAppRouter>;
  }
}
