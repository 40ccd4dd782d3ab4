import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const OUT = "../../server/frazil_server/dashboard";
const SERVER = process.env.FRAZIL_URL ?? "http://127.0.0.1:8000";

/** Beside every text file its compressed forms, so that the server never compresses the same file twice. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      for (const name of readdirSync(OUT, { recursive: true, encoding: "utf8" })) {
        if (!/\.(js|css|html|svg|json)$/.test(name)) continue;
        const path = join(OUT, name);
        const content = readFileSync(path);
        writeFileSync(`${path}.br`, brotliCompressSync(content));
        writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  plugins: [compressed()],
  esbuild: { jsx: "automatic" },
  build: {
    outDir: OUT,
    emptyOutDir: true,
    manifest: "manifest.json", // from which the server knows what a page will need
    target: "es2022",
    chunkSizeWarningLimit: 1_700,
    reportCompressedSize: false,
    rollupOptions: {
      input: ["index.html", "docs.html"],
      // "use client" speaks to servers that render React, of which there is none here
      onwarn: (warning, warn) => warning.code === "MODULE_LEVEL_DIRECTIVE" || warn(warning),
    },
  },
  server: { proxy: { "/api": SERVER, "/openapi.json": SERVER } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
} as import("vitest/config").ViteUserConfig);
