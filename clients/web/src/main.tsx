import "@fontsource-variable/inter/index.css";
import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./styles.css";
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiError } from "./api/client";
import { createAppRouter } from "./router";
import { theme } from "./theme";

/** What the server has refused it will refuse again; what did not reach it is tried until it does. */
function again(failures: number, error: Error): boolean {
  return error instanceof ApiError && (error.status === 0 || error.status === 503) ? failures < 20 : false;
}

const client = new QueryClient({ defaultOptions: { queries: { retry: again, staleTime: 1_000 } } });
const router = createAppRouter(client);

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <Notifications position="bottom-right" />
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
