/** Every question that a page asks, with the key under which its answer is kept. All of a study's begin alike. */
import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { type Filter, filterQuery } from "../lib/filter";
import { get, type Schemas, type Study, type Trial, type TrialSample } from "./client";

/** How many trials are drawn at first. The server's web.py asks for them ahead of the scripts, by the same addresses. */
export const AT_FIRST = 300;

export const studyKey = (study: string) => ["study", study] as const;
const path = (study: string, rest = "") => `/studies/${encodeURIComponent(study)}${rest}`;

export const studiesQuery = infiniteQueryOptions({
  queryKey: ["studies"],
  queryFn: ({ pageParam, signal }) =>
    get<Schemas["StudyList"]>("/studies", { page_size: 50, page_token: pageParam }, signal),
  initialPageParam: null as string | null,
  getNextPageParam: (page) => page.next_page_token,
  refetchInterval: 30_000,
});

export const studyQuery = (study: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "definition"],
    queryFn: ({ signal }) => get<Study>(path(study), {}, signal),
  });

export const progressQuery = (study: string, most = 500) =>
  queryOptions({
    queryKey: [...studyKey(study), "progress", most],
    queryFn: ({ signal }) => get<Schemas["Progress"]>(path(study, "/progress"), { most }, signal),
    placeholderData: keepPreviousData,
  });

export const bestQuery = (study: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "best"],
    queryFn: ({ signal }) => get<Schemas["BestOut"]>(path(study, "/best"), {}, signal),
    placeholderData: keepPreviousData,
    staleTime: 10_000,
  });

export const sampleQuery = (study: string, filter: Filter, count: number) =>
  queryOptions({
    queryKey: [...studyKey(study), "sample", filter, count],
    queryFn: ({ signal }) => get<TrialSample>(path(study, "/trials:sample"), { ...filterQuery(filter), count }, signal),
    placeholderData: keepPreviousData,
  });

/** Of the objective, unless a metric is given. */
export const curvesQuery = (
  study: string,
  filter: Filter,
  metric: string | undefined,
  sample: number,
  maxPoints = 100,
) =>
  queryOptions({
    queryKey: [...studyKey(study), "curves", filter, metric, sample, maxPoints],
    queryFn: ({ signal }) =>
      get<Schemas["CurveList"]>(
        path(study, "/curves"),
        { ...filterQuery(filter), metric, sample, max_points: maxPoints },
        signal,
      ),
    placeholderData: keepPreviousData,
  });

export const trialsQuery = (study: string, filter: Filter, orderBy: string) =>
  infiniteQueryOptions({
    queryKey: [...studyKey(study), "trials", filter, orderBy],
    queryFn: ({ pageParam, signal }) =>
      get<Schemas["TrialList"]>(
        path(study, "/trials"),
        { ...filterQuery(filter), order_by: orderBy, page_size: 200, page_token: pageParam },
        signal,
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_page_token,
    placeholderData: keepPreviousData,
  });

/** One trial by its number. */
export const trialQuery = (study: string, number: number) =>
  queryOptions({
    queryKey: [...studyKey(study), "trial", number],
    queryFn: async ({ signal }) => {
      const query = { number, page_size: 1 };
      const page = await get<Schemas["TrialList"]>(path(study, "/trials"), query, signal);
      return (page.items[0] ?? null) as Trial | null;
    },
  });

export const trialCurvesQuery = (study: string, trial: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "trial-curves", trial],
    queryFn: ({ signal }) => get<Schemas["TrialCurves"]>(`/trials/${trial}/curve`, {}, signal),
  });

export const eventsQuery = (study: string, trial: number) =>
  queryOptions({
    queryKey: [...studyKey(study), "events", trial],
    queryFn: ({ signal }) => get<Schemas["EventList"]>(path(study, "/events:list"), { trial, page_size: 500 }, signal),
  });

export const foretoldQuery = (study: string, trial: number, metric?: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "foretold", trial, metric],
    queryFn: ({ signal }) =>
      get<Schemas["PredictionsOut"]>(path(study, "/predictions"), { trial, metric, max_points: 120 }, signal),
    placeholderData: keepPreviousData,
    staleTime: 10_000,
  });

export const rankingQuery = (study: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "ranking"],
    queryFn: ({ signal }) => get<Schemas["RankingOut"]>(path(study, "/ranking"), { most: 15 }, signal),
    placeholderData: keepPreviousData,
    staleTime: 10_000,
  });

export const calibrationQuery = (study: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "calibration"],
    queryFn: ({ signal }) => get<Schemas["PredictionsOut"]>(path(study, "/predictions"), { calibration: true }, signal),
    placeholderData: keepPreviousData,
    staleTime: 60_000,
  });

export const importancesQuery = (study: string, method: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "importances", method],
    queryFn: ({ signal }) => get<Schemas["ImportancesOut"]>(path(study, "/importances"), { method }, signal),
    placeholderData: keepPreviousData,
    staleTime: 30_000,
  });

export const sliceQuery = (study: string, first: string, second: string | null) =>
  queryOptions({
    queryKey: [...studyKey(study), "slice", first, second],
    queryFn: ({ signal }) =>
      get<Schemas["PredictionsOut"]>(
        path(study, "/predictions"),
        { slice: first, slice2: second, resolution: second ? 25 : 61 },
        signal,
      ),
    placeholderData: keepPreviousData,
    staleTime: 30_000,
  });

export const paretoQuery = (study: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "pareto"],
    queryFn: ({ signal }) => get<Schemas["ParetoOut"]>(path(study, "/pareto"), {}, signal),
    placeholderData: keepPreviousData,
  });

export const timelineQuery = (study: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "timeline"],
    queryFn: ({ signal }) => get<Schemas["Timeline"]>(path(study, "/timeline"), { most: 600 }, signal),
    placeholderData: keepPreviousData,
  });

export const comparisonsQuery = (study: string) =>
  queryOptions({
    queryKey: [...studyKey(study), "comparisons"],
    queryFn: ({ signal }) => get<Schemas["ComparisonList"]>(path(study, "/comparisons"), {}, signal),
  });

export const systemQuery = queryOptions({
  queryKey: ["system"],
  queryFn: ({ signal }) => get<Record<string, unknown>>("/system", {}, signal),
  refetchInterval: 5_000,
});

export const policiesQuery = queryOptions({
  queryKey: ["policies"],
  queryFn: ({ signal }) => get<{ items: PolicyDescription[] }>("/policies", {}, signal),
  staleTime: Number.POSITIVE_INFINITY,
});

export type PolicyDescription = { name: string; summary?: string; options?: Record<string, unknown>[] };
