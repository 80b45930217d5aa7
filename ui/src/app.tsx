/** Which page stands at which address, and what is around all of them. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ErrorBoundary, LocationProvider, lazy, Route, Router, useLocation } from "preact-iso";
import { needsKey, page, root } from "./api/client";
import { Keys } from "./parts/keys";
import { Unloaded } from "./parts/unloaded";
import { SignIn, SignOut } from "./session";

/** A page that is loaded once it is opened, or what stands in for it while the server is away. */
function load(script: () => Promise<{ default: () => JSX.Element | null }>) {
  return lazy(() => script().catch(() => ({ default: Unloaded })));
}

// Each is a script of its own, which is loaded when its address is opened.
const Products = load(() => import("./pages/products"));
const Product = load(() => import("./pages/product"));
const Import = load(() => import("./pages/import"));
const Train = load(() => import("./pages/train"));
const Models = load(() => import("./pages/models"));
const Job = load(() => import("./pages/job"));
const Compare = load(() => import("./pages/compare"));
const Sweep = load(() => import("./pages/sweep"));
const Service = load(() => import("./pages/service"));
const Dataset = load(() => import("./pages/dataset"));
const Missing = load(() => import("./pages/missing"));

export function App() {
  const [isKeyNeeded, setKeyNeeded] = useState(false);
  useEffect(() => {
    const need = () => setKeyNeeded(true);
    needsKey.addEventListener("needed", need);
    return () => needsKey.removeEventListener("needed", need);
  }, []);
  if (isKeyNeeded) return <SignIn />;
  return (
    <LocationProvider scope={`${root}/ui`}>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <Bar />
      <Keys />
      <div id="content">
        <ErrorBoundary>
          <Router>
            <Route path={page("")} component={Products} />
            <Route path={page("/products/:product")} component={Product} />
            <Route path={page("/products/:product/import")} component={Import} />
            <Route path={page("/products/:product/train")} component={Train} />
            <Route path={page("/products/:product/models")} component={Models} />
            <Route path={page("/jobs/:job")} component={Job} />
            <Route path={page("/compare")} component={Compare} />
            <Route path={page("/sweeps/:sweep")} component={Sweep} />
            <Route path={page("/service")} component={Service} />
            <Route path={page("/datasets/:dataset")} component={Dataset} />
            <Route default component={Missing} />
          </Router>
        </ErrorBoundary>
      </div>
    </LocationProvider>
  );
}

function Bar() {
  const { path } = useLocation();
  const current = (start: string) => (path.startsWith(page(start)) ? "page" : undefined);
  return (
    <nav class="bar" aria-label="Loupe">
      <a class="brand" href={page("")}>
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <circle cx="10" cy="10" r="7" />
          <path d="M15.5 15.5 L22 22" />
        </svg>
        Loupe
      </a>
      <a
        href={page("")}
        aria-current={path === page("") || path === page("/") ? "page" : current("/products")}
      >
        Products
      </a>
      <a href={page("/service")} aria-current={current("/service")}>
        Service
      </a>
      <a href={`${root}/docs`} target="_self">
        API
      </a>
      <SignOut />
    </nav>
  );
}
