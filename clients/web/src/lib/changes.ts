/** What a page changes on the server, with what has to be read again afterwards. */
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type Schemas, type Study, send, type Trial } from "../api/client";
import { studyKey } from "../api/queries";

function complain(error: Error): void {
  notifications.show({ color: "red", title: "That did not work", message: error.message });
}

export function useStudyChange(study: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (patch: Schemas["StudyPatch"]) => send<Study>("PATCH", `/studies/${encodeURIComponent(study)}`, patch),
    onError: complain,
    onSettled: () =>
      Promise.all([
        client.invalidateQueries({ queryKey: ["studies"] }),
        client.invalidateQueries({ queryKey: studyKey(study) }),
      ]),
  });
}

export function useTrialChange(study: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ trial, patch }: { trial: string; patch: Schemas["TrialPatch"] }) =>
      send<Trial>("PATCH", `/trials/${trial}`, patch),
    onError: complain,
    onSettled: () => client.invalidateQueries({ queryKey: studyKey(study) }),
  });
}

export function useEnqueue(study: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ params, parent }: { params: Record<string, unknown>; parent?: number }) =>
      send<Schemas["AddedTrials"]>("POST", `/studies/${encodeURIComponent(study)}/trials`, {
        trials: [parent === undefined ? { params } : { params, parent }],
      }),
    onSuccess: (added) =>
      notifications.show({
        title: "Enqueued",
        message: `Trial ${added.trials[0]?.number} goes to the next worker that asks.`,
      }),
    onSettled: () => client.invalidateQueries({ queryKey: studyKey(study) }),
  });
}
